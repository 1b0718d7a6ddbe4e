package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"muster/cmd/muster/config"
	"muster/roles"
	"muster/tests/rack"
)

// defaultLabSocket is where `muster lab up` listens when nobody says otherwise.
const defaultLabSocket = "/run/muster/lab.sock"

func (p *program) newLabCommand() *cobra.Command {
	cmd := asGroup(&cobra.Command{
		Use: "lab", Short: "the virtual rack: machines of QEMU on this host",
		Long: "Lab is a rack of virtual diskless machines on this host, for trying things out. A MACHINE is its name\nor its MAC.",
	})
	cmd.PersistentFlags().StringVar(&p.lab, "lab-socket", "", "socket of the lab (default: power.lab.socket of the configuration, else "+defaultLabSocket+")")
	cmd.AddCommand(p.newLabUpCommand(), p.newLabDemoCommand(), p.newLabListCommand(), p.newLabAddCommand(), p.newLabPowerCommand(), p.newLabConsoleCommand(), p.newLabDownCommand())
	return cmd
}

// labClient finds the lab.
func (p *program) labClient() rack.LabClient {
	if p.lab != "" {
		return rack.LabClient{Socket: p.lab}
	}
	if c, err := config.Load(p.config); err == nil && c.Power.Lab != nil {
		return rack.LabClient{Socket: c.Power.Lab.Socket}
	}
	return rack.LabClient{Socket: defaultLabSocket}
}

func (p *program) newLabListCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "list", Aliases: []string{"ls"}, Short: "list the machines of the lab", Args: wants()}
	out := outputFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		lab := p.labClient()
		machines, err := lab.Machines(cmd.Context())
		if err != nil {
			return labError(lab, err)
		}
		return out.print(p.stdout, machines, func(w io.Writer) { printMachines(w, machines) })
	}
	return cmd
}

func printMachines(w io.Writer, machines []rack.LabMachine) {
	if len(machines) == 0 {
		fmt.Fprintln(w, "no machines: muster lab add")
		return
	}
	g := newGrid("MACHINE", "MAC", "FIRMWARE", "POWER")
	for _, m := range machines {
		g.row(m.Name, m.MAC.String(), string(m.Firmware), onOff(m.On))
	}
	g.print(w)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (p *program) newLabAddCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "add [NAME]", Short: "put a machine into the lab, and switch it on with --on", Args: wants("[NAME]")}
	var spec rack.MachineSpec
	firmware := cmd.Flags().String("firmware", string(rack.BIOS), "bios, uefi or uefi-http")
	nic := cmd.Flags().String("nic", string(rack.Virtio), "network card: virtio, e1000e, e1000, vmxnet3 or rtl8139 (Intel's and Realtek's want the full kernel)")
	mac := cmd.Flags().String("mac", "", "MAC of its network card (default: a generated one)")
	cmd.Flags().IntVar(&spec.MemoryMiB, "memory", 0, "MiB of memory (default 768)")
	cmd.Flags().IntVar(&spec.CPUs, "cpus", 0, "processors (default 2)")
	on := cmd.Flags().Bool("on", false, "switch it on")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) > 0 {
			spec.Name = args[0]
		}
		if spec.Firmware = rack.Firmware(*firmware); spec.Firmware != rack.BIOS && spec.Firmware != rack.UEFI && spec.Firmware != rack.UEFIHTTP {
			return usageError{cmd, fmt.Errorf("--firmware %q: want bios, uefi or uefi-http", *firmware)}
		}
		spec.NIC = rack.NIC(*nic)
		if *mac != "" {
			if spec.MAC, err = roles.ParseMAC(*mac); err != nil {
				return usageError{cmd, fmt.Errorf("--mac: %w", err)}
			}
		}
		lab := p.labClient()
		m, err := lab.Add(cmd.Context(), spec)
		if err == nil && *on {
			m, err = lab.Power(cmd.Context(), m.MAC, "on")
		}
		if err != nil {
			return labError(lab, err)
		}
		printMachines(p.stdout, []rack.LabMachine{m})
		return nil
	}
	return cmd
}

func (p *program) newLabPowerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "power MACHINE on|off|cycle|reset|status", Short: "switch a machine of the lab, behind Muster's back",
		Args: wants("MACHINE", "on|off|cycle|reset|status"),
		RunE: func(cmd *cobra.Command, args []string) error {
			steps, ok := map[string][]string{
				"on": {"on"}, "off": {"off"}, "cycle": {"off", "on"}, "reset": {"reset"}, "status": nil,
			}[args[1]]
			if !ok {
				return usageError{cmd, fmt.Errorf("%q is not a power action: want on, off, cycle, reset or status", args[1])}
			}
			lab := p.labClient()
			m, err := findMachine(cmd.Context(), lab, args[0])
			for _, action := range steps {
				if err == nil {
					m, err = lab.Power(cmd.Context(), m.MAC, action)
				}
			}
			if err != nil {
				return labError(lab, err)
			}
			fmt.Fprintf(p.stdout, "%s: %s\n", m.Name, onOff(m.On))
			return nil
		},
	}
}

func (p *program) newLabConsoleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "console MACHINE", Short: "show what a machine of the lab printed, live with --follow",
		Args: wants("MACHINE"),
	}
	follow := cmd.Flags().BoolP("follow", "f", false, "go on until Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		lab := p.labClient()
		m, err := findMachine(cmd.Context(), lab, args[0])
		if err == nil {
			err = lab.Console(cmd.Context(), m.MAC, *follow, p.stdout)
		}
		return labError(lab, err)
	}
	return cmd
}

// findMachine finds a machine by its MAC or name.
func findMachine(ctx context.Context, lab rack.LabClient, key string) (rack.LabMachine, error) {
	if mac, err := roles.ParseMAC(key); err == nil {
		return lab.Machine(ctx, mac)
	}
	all, err := lab.Machines(ctx)
	if err != nil {
		return rack.LabMachine{}, err
	}
	var names []string
	for _, m := range all {
		if m.Name == key {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return rack.LabMachine{}, fmt.Errorf("the lab has no machine %q (there are: %s): %w", key, strings.Join(names, ", "), fs.ErrNotExist)
}
