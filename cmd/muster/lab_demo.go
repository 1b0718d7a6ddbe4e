package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/cmd/muster/serve"
	"muster/images"
	"muster/roles"
	"muster/roles/api"
	"muster/roles/declare"
	"muster/tests/rack"
)

// applyAll applies what a file says and leaves the rest.
var applyAll = roles.ApplyOptions{}

func (p *program) newLabDemoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "watch one machine that Muster has never seen come up in a lab", Args: wants(),
		Long: "Demo builds the image of the role web where it is missing, starts a lab, switches one diskless\n" +
			"machine on, shows its boot step by step and the page that it serves, and stays up until Ctrl-C.",
	}
	data := cmd.Flags().String("data", defaultLabData, "data directory, with the lab's muster.yaml and rack.yaml")
	once := cmd.Flags().Bool("once", false, "end when the page was printed")
	firmware := cmd.Flags().String("firmware", string(rack.BIOS), "bios, uefi or uefi-http")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := p.demo(cmd.Context(), *data, rack.Firmware(*firmware), *once)
		if cmd.Context().Err() != nil {
			return nil // Ctrl-C is how it is ended
		}
		return err
	}
	return cmd
}

func (p *program) demo(ctx context.Context, data string, firmware rack.Firmware, once bool) error {
	l, err := newLab(data)
	if err != nil {
		return err
	}
	if err := p.demoImage(ctx, l); err != nil {
		return err
	}
	// The machine is one that Muster has never seen: what earlier demos left is forgotten.
	for _, name := range []string{"muster.db", "state"} {
		if err := os.RemoveAll(l.file(name)); err != nil {
			return err
		}
	}
	if err := l.up(ctx); err != nil {
		return err
	}
	defer l.Close()
	m, err := l.rack.Add(rack.MachineSpec{Name: "m1", Firmware: firmware})
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\nThe rack is up (%s). One diskless machine, %s, is switched on; Muster has never seen it.\n\n", l.rack.Accel(), m.MAC())
	began := p.now()
	if err := m.On(); err != nil {
		return err
	}
	if err := p.followBoot(ctx, l.client, m.MAC().String(), 0); err != nil {
		l.rack.Dump(p.stderr, 40)
		return err
	}
	n, err := l.client.Node(ctx, m.MAC().String())
	if err != nil {
		return err
	}
	fmt.Fprintf(p.stdout, "\n%.1f s after power-on, http://%s/ answers:\n\n", p.now().Sub(began).Seconds(), n.Address)
	if err := l.printPage(p.stdout, n.Address); err != nil {
		return err
	}
	if once {
		return nil
	}
	p.demoNext(l, n)
	return l.stay(ctx)
}

// demoImage builds the image of web when there is none.
func (p *program) demoImage(ctx context.Context, l *lab) error {
	catalog := images.Catalog{Dir: l.file("images")}
	if img, err := catalog.Find(images.Ref{Name: "web"}); err == nil {
		fmt.Fprintf(p.stdout, "Image %s is there (built %s).\n", img.Ref, img.Built.Format(time.DateTime))
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	fmt.Fprintln(p.stdout, "Building the image of the role web: Debian with nginx, about a minute.")
	b, err := os.ReadFile(l.file("rack.yaml"))
	if err != nil {
		return err
	}
	d, err := declare.Parse(b, l.file("rack.yaml"))
	if err != nil {
		return err
	}
	began, last, stage := p.now(), -10, ""
	_, err = serve.BuildLocal(ctx, l.config, findAgent(), d, "web", func(b api.BuildProgress) {
		// A line for every stage and every tenth of the whole: hundreds would hide what matters.
		if b.Step != stage || b.Percent >= last+10 {
			last, stage = b.Percent, b.Step
			fmt.Fprintln(p.stdout, progressLine(p.now().Sub(began), b))
		}
	})
	return err
}

var tags = regexp.MustCompile(`(?s)<(?:style|script|title)[^>]*>.*?</(?:style|script|title)>|<[^>]*>`)

// printPage fetches the node's page over the rack's network and prints its text.
func (l *lab) printPage(w io.Writer, a netip.Addr) error {
	resp, err := l.rack.HTTPClient().Get("http://" + a.String() + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	for line := range strings.Lines(html.UnescapeString(tags.ReplaceAllString(string(page), ""))) {
		if line = strings.TrimSpace(line); line != "" {
			fmt.Fprintln(w, "    "+printable(line))
		}
	}
	return nil
}

// demoNext says what to try.
func (p *program) demoNext(l *lab, n roles.Node) {
	fmt.Fprintf(p.stdout, "\nIt stays up until Ctrl-C. Try, in another terminal (muster is bin/muster of this checkout):\n")
	l.hint(p.stdout)
	fmt.Fprintf(p.stdout, `
  Replace a dead machine: the next one that is switched on takes over its name, address and state.
    muster lab power m1 off                # it dies; muster node list shows it failed some seconds later
    muster lab add --on                    # a new machine: watch it become %[1]s

  Change what a machine does (build the image of ntp first, see above):
    muster node assign %[1]s ntp
    muster node power %[2]s cycle
`, n.Slot, n.MAC)
}
