package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"muster/roles"
)

func (p *program) newRoleCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{Use: "role", Short: "roles, as they are in effect: list, show"})
	list := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the roles of the library and the declared ones", Args: wants()}
	out := outputFlag(list)
	list.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		rs, err := c.Roles(cmd.Context())
		if err != nil {
			return err
		}
		return out.print(p.stdout, rs, func(w io.Writer) { printRoles(w, rs) })
	}
	cmd.AddCommand(list, p.newRoleShowCommand())
	return cmd
}

func printRoles(w io.Writer, rs []roles.Role) {
	if len(rs) == 0 {
		fmt.Fprintln(w, "no roles")
		return
	}
	g := newGrid("ROLE", "IMAGE", "ROOT", "HEALTH", "DESCRIPTION")
	for _, r := range rs {
		root := r.Root
		if root == "" {
			root = roles.RootNFS
		}
		g.row(r.Name, r.ImageName(), string(root), healthText(r.Health), r.Description)
	}
	g.print(w)
}

func healthText(h *roles.Health) string {
	switch {
	case h == nil:
	case h.HTTP != nil:
		return "http " + h.HTTP.Path
	case h.TCP != nil:
		return fmt.Sprintf("tcp %d", h.TCP.Port)
	case h.NTP != nil:
		return "ntp"
	}
	return ""
}

// newRoleShowCommand shows a role as it would be declared: the table of a role is its YAML.
func (p *program) newRoleShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show ROLE", Short: "show a role as it would be declared",
		Args: wants("ROLE"), ValidArgsFunction: p.completeArgs(p.roleNames),
	}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		r, err := c.Role(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return out.print(p.stdout, r, func(w io.Writer) {
			e := yaml.NewEncoder(w)
			e.SetIndent(2)
			_ = e.Encode(r) // A role is plain data.
		})
	}
	return cmd
}

// flowText is v's YAML on one line.
func flowText(v any) string {
	var n yaml.Node
	if err := n.Encode(v); err != nil {
		return err.Error()
	}
	n.Style = yaml.FlowStyle
	b, _ := yaml.Marshal(&n)
	return string(b[:max(len(b)-1, 0)])
}
