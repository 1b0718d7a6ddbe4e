package rack

import (
	"context"
	"fmt"
	"io/fs"
	"math"
	"strings"
)

// lossTable is the nftables table with the rules that lose frames.
const lossTable = "muster_rack"

// Lose makes the bridge lose a percentage of the frames in each direction, at random, between the machines and
// the server and among machines; 0 ends it. It works below raw sockets too. It needs the Debian package nftables.
func (r *Rack) Lose(ctx context.Context, percent float64) error {
	if percent < 0 || percent > 100 {
		return fmt.Errorf("rack: lose %g %% of the frames (want 0 to 100): %w", percent, fs.ErrInvalid)
	}
	if err := need(lossTools); err != nil {
		return err
	}
	return r.nft(ctx, lossRules(percent))
}

// lossRules replaces the table as a whole: nft applies a file in one transaction. The family is bridge, since the
// hooks of the others come after packet sockets have seen an incoming frame.
func lossRules(percent float64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "add table bridge %[1]s\ndelete table bridge %[1]s\n", lossTable)
	if percent == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "table bridge %s {\n", lossTable)
	for _, hook := range []string{"input", "output", "forward"} {
		fmt.Fprintf(&b, "\tchain %[1]s {\n\t\ttype filter hook %[1]s priority 0;\n\t\tnumgen random mod 10000 <= %[2]d counter drop\n\t}\n",
			hook, int(math.Ceil(percent*100))-1)
	}
	b.WriteString("}\n")
	return b.String()
}

// nft applies a file of rules, as one transaction.
func (r *Rack) nft(ctx context.Context, rules string) error {
	cmd := r.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("rack: nftables: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
