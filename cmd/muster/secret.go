package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/roles"
	"muster/roles/api"
)

func (p *program) newSecretCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use: "secret", Short: "passwords and keys of slots and pools: list, set, rotate",
		Long: "Secrets are made when a slot first needs them, and kept: a replaced machine has those of its slot. They\n" +
			"reach a node only in its files. No command and no answer of the server shows their values.",
	})
	list := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the secrets, without their values", Args: wants()}
	out := outputFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		all, err := c.Secrets(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(p.stdout, all, func(w io.Writer) { printSecrets(w, all, p.now()) })
	}
	cmd.AddCommand(list, p.newSecretSetCommand(), p.newSecretRotateCommand())
	return cmd
}

func printSecrets(w io.Writer, all []roles.Secret, now time.Time) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no secrets: they are made when a node first needs them")
		return
	}
	g := newGrid("SECRET", "KIND", "MADE", "BY", "PUBLIC")
	for _, s := range all {
		by := "muster"
		if s.Given {
			by = "operator"
		}
		g.row(s.Key, string(s.Kind), age(now, s.Made)+" ago", by, fingerprint(s))
	}
	g.print(w)
}

// fingerprint is that of a secret's public half, as ssh-keygen -l and openssl x509 -fingerprint -sha256 show it;
// "" where it has none.
func fingerprint(s roles.Secret) string {
	switch s.Kind {
	case roles.SecretSSH:
		fields := strings.Fields(s.Public)
		if len(fields) < 2 {
			return ""
		}
		key, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil {
			return ""
		}
		sum := sha256.Sum256(key)
		return fields[0] + " SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
	case roles.SecretTLS:
		block, _ := pem.Decode([]byte(s.Public))
		if block == nil {
			return ""
		}
		return fmt.Sprintf("sha256 %X", sha256.Sum256(block.Bytes))
	}
	return s.Public
}

func (p *program) newSecretSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "set SECRET FILE", Short: "give a secret a value of your own: a certificate with its key, a TSIG key, …",
		Long: "Set stores the content of a file, or of the standard input (-), as a secret that a role declares: for a\n" +
			"pool pool/POOL/NAME, for a slot slot/SLOT/NAME. A value of one line is taken without its line feed.\n" +
			"Running nodes get it by muster node sync.",
		Example: "  cat key.pem fullchain.pem | muster secret set pool/web/tls -",
		Args:    wants("SECRET", "FILE"),
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, given []string, to string) ([]string, cobra.ShellCompDirective) {
		if len(given) == 1 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return p.completeArgs(p.secretKeys)(cmd, given, to)
	}
	return p.changeSecret(cmd, "set", func(ctx context.Context, c *api.Client, args []string) (roles.Secret, error) {
		value, err := p.readSecret(args[1])
		if err != nil {
			return roles.Secret{}, err
		}
		return c.SetSecret(ctx, args[0], value)
	})
}

func (p *program) newSecretRotateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate SECRET", Short: "have a new value made; running nodes get it by muster node sync",
		Args: wants("SECRET"), ValidArgsFunction: p.completeArgs(p.secretKeys),
	}
	return p.changeSecret(cmd, "rotated", func(ctx context.Context, c *api.Client, args []string) (roles.Secret, error) {
		return c.RotateSecret(ctx, args[0])
	})
}

// changeSecret is a command that gives a secret another value, and says who has to get it.
func (p *program) changeSecret(cmd *cobra.Command, done string, do func(context.Context, *api.Client, []string) (roles.Secret, error)) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		scope, of, ok := parseSecretKey(args[0])
		if !ok {
			return usageError{cmd, fmt.Errorf("%q is not a secret: want pool/POOL/NAME or slot/SLOT/NAME", args[0])}
		}
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		s, err := do(cmd.Context(), c, args)
		if err != nil {
			return err
		}
		which := of
		if scope == "pool" {
			which = "--pool " + of
		}
		fmt.Fprintf(p.stdout, "%s: %s (%s); nodes get it at their next boot, or now: muster node sync %s\n", s.Key, done, join(string(s.Kind), fingerprint(s)), which)
		return nil
	}
	return cmd
}

// parseSecretKey takes a key apart: its scope, pool or slot, and the name of that.
func parseSecretKey(key string) (scope, of string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 3 || parts[0] != "pool" && parts[0] != "slot" || parts[1] == "" || parts[2] == "" {
		return "", "", false
	}
	return parts[0], parts[1], true
}

// maxSecret bounds what is read: the server takes no more than a few certificates.
const maxSecret = 48 << 10

// readSecret reads a file, or the standard input for "-".
func (p *program) readSecret(file string) ([]byte, error) {
	from := p.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, maxSecret+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxSecret {
		return nil, fmt.Errorf("%s is larger than %s: %w", file, sizeText(maxSecret), os.ErrInvalid)
	}
	if len(bytes.TrimSpace(b)) == 0 {
		return nil, fmt.Errorf("%s is empty: %w", file, os.ErrInvalid)
	}
	if line, rest, _ := bytes.Cut(b, []byte("\n")); len(rest) == 0 {
		return bytes.TrimSuffix(line, []byte("\r")), nil
	}
	return b, nil
}
