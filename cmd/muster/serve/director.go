package serve

import (
	"context"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"muster/httpboot"
	"muster/httpboot/agent"
	"muster/images"
	"muster/roles"
)

// director answers what machines ask over HTTP.
type director struct{ *server }

// bootFiles opens what machines load of an image.
type bootFiles struct{ *images.Catalog }

// Open implements httpboot.Images.
func (b bootFiles) Open(name string, version int, file string) (*os.File, error) {
	return b.Catalog.Open(images.Ref{Name: name, Version: version}, file)
}

// Script implements httpboot.Director.
func (d *director) Script(ctx context.Context, m httpboot.Machine) (httpboot.Script, error) {
	mac, err := roles.ParseMAC(m.MAC)
	if err != nil {
		return httpboot.Script{}, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	if d.hosts.has(mac) {
		return httpboot.Script{Kind: httpboot.Local, Message: "(a host of muster.yaml: Muster does not boot it)"}, nil
	}
	// The boot that the script belongs to began with what DHCP saw.
	if err := d.recorder.Flush(ctx); err != nil {
		return httpboot.Script{}, err
	}
	from, net, err := d.bootAddress(m)
	if err != nil {
		return httpboot.Script{}, err
	}
	if !d.Config.DHCPD.Addresses() {
		d.others.seen(from, mac, time.Now())
	}
	if !d.strangers.admit(d.registry, mac, time.Now()) {
		return httpboot.Script{Kind: httpboot.Wait, Message: tooManyStrangers}, nil
	}
	t, err := d.registry.Script(ctx, mac, roles.Facts{
		Arch: m.Arch, Firmware: m.Platform, UUID: m.UUID, Manufacturer: m.Manufacturer, Product: m.Product,
		Serial: m.Serial, Asset: m.Asset, Address: from,
	})
	if err != nil {
		return httpboot.Script{}, err
	}
	if t.Retry != "" {
		return httpboot.Script{Kind: httpboot.Wait, Message: t.Retry}, nil
	}
	return httpboot.Script{
		Kind: httpboot.Boot, Title: title(t), Kernel: kernelPath(t.Image.Ref), Initrd: filePath(t.Image.Ref, images.InitrdFile),
		Boot: fmt.Sprint(t.Boot.ID), Cmdline: t.Role.Cmdline, Token: t.Boot.Token,
		Address: netip.PrefixFrom(from, net.Prefix.Bits()), Gateway: net.Router, Key: d.keys.public(), Pin: d.keys.pin,
		Root: rootType(t.Role.Root), Server: d.agentURL(m, net),
	}, nil
}

// filePath is where HTTP boot has a file of an image.
func filePath(ref images.Ref, file string) string {
	return fmt.Sprintf("/images/%s/%d/%s", ref.Name, ref.Version, file)
}

func kernelPath(ref images.Ref) string { return filePath(ref, images.KernelFile) }

func title(t roles.Ticket) string {
	if t.Node.Slot == "" {
		return "the agent of " + t.Image.Ref.String() + ", and waits there: " + t.Node.Why
	}
	return t.Image.Ref.String() + " as " + t.Node.Slot
}

// Hello implements httpboot.Director.
func (d *director) Hello(ctx context.Context, remote netip.Addr, h agent.Hello) (agent.Reply, error) {
	mac, err := roles.ParseMAC(h.MAC)
	if err != nil {
		return agent.Reply{}, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	o, err := d.registry.Hello(ctx, mac, h.Token, h.Kernel, h.Uptime, factsOfHello(h.Inventory))
	if err != nil {
		return agent.Reply{}, err
	}
	return d.reply(ctx, o)
}

// Poll implements httpboot.Director.
func (d *director) Poll(ctx context.Context, p agent.Poll) (agent.Reply, error) {
	mac, err := roles.ParseMAC(p.MAC)
	if err != nil {
		return agent.Reply{}, fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	// Who has no token does not get to hold a connection.
	if err := d.registry.Authentic(mac, p.Token); err != nil {
		return agent.Reply{}, err
	}
	for ctx.Err() == nil && !d.registry.Placeable(mac) {
		d.pause(ctx)
	}
	// What changed may also be why it waits. The token is checked again: the machine may have restarted.
	o, r, err := d.orders(ctx, mac, p.Token)
	if err != nil || !d.hold(ctx, o, r) {
		return r, err
	}
	_, r, err = d.orders(ctx, mac, p.Token)
	return r, err
}

// orders is what a machine that polls is told now.
func (d *director) orders(ctx context.Context, mac roles.MAC, token string) (roles.Orders, agent.Reply, error) {
	ctx = context.WithoutCancel(ctx)
	o, err := d.registry.Orders(ctx, mac, token)
	if err != nil {
		return o, agent.Reply{}, err
	}
	r, err := d.reply(ctx, o)
	return o, r, err
}

// hold waits while a machine waits for its image or its storage, for as long as there is nothing new to say about
// that. It reports whether there is.
func (d *director) hold(ctx context.Context, o roles.Orders, r agent.Reply) (news bool) {
	if o.Slot == nil || r.Wait == "" || d.awaits(ctx, o) != r.Wait {
		return false
	}
	for ctx.Err() == nil {
		d.pause(ctx)
		n, err := d.registry.Node(o.Node.MAC.String())
		if err != nil || n.Slot != o.Slot.Name || n.Pool != o.Slot.Pool || d.awaits(ctx, o) != r.Wait {
			return true
		}
	}
	return false
}

// awaits is what reply says to a node that waits for its image or its storage; "" when it need not.
func (d *director) awaits(ctx context.Context, o roles.Orders) string {
	img, err := d.catalog.Find(o.Image.Ref) // it may have been packed
	if err != nil {
		return ""
	}
	o.Image = img
	why, err := d.offer(ctx, o)
	if err != nil {
		return ""
	}
	return why
}

// pollPause spares the rules while a rack changes with every event of every boot.
const pollPause = 500 * time.Millisecond

// pause waits until the rack or what its storage pairs say has changed, and a moment more; images change without
// either, so it looks again after 2 s in any case.
func (d *director) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-d.registry.PairWatch():
	case <-d.registry.Watch(d.registry.Revision()):
	case <-time.After(2 * time.Second):
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(pollPause):
	}
}

// Report implements httpboot.Director.
func (d *director) Report(ctx context.Context, r agent.Report) error {
	mac, err := roles.ParseMAC(r.MAC)
	if err != nil {
		return fmt.Errorf("%w: %w", err, fs.ErrInvalid)
	}
	var events []roles.Reported
	for _, e := range r.Events {
		step := roles.Step(e.Step)
		if step == roles.StepHello && e.Error == "" {
			continue // this server heard it itself
		}
		events = append(events, roles.Reported{Seq: e.Seq, Uptime: e.Uptime, Step: step, Message: clip(e.Message), Error: clip(e.Error)})
	}
	return d.registry.Report(ctx, mac, r.Token, events)
}

// clip bounds what a machine may put into the timeline: a sentence, not a log.
func clip(s string) string {
	const limit = 500
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// reply turns orders into what the agent reads.
func (d *director) reply(ctx context.Context, o roles.Orders) (agent.Reply, error) {
	if o.Slot == nil {
		d.keepLease(ctx, o.Node)
		return agent.Reply{Wait: o.Wait, Reboot: o.Reboot}, nil
	}
	net, ok := d.networkOf(o.Slot.Address)
	if !ok {
		return agent.Reply{Wait: fmt.Sprintf("the address of %s, %s, is in no subnet of this server", o.Slot.Name, o.Slot.Address)}, nil
	}
	spec := &agent.Spec{
		Hostname: o.Slot.Name, Domain: net.Domain, Address: netip.PrefixFrom(o.Slot.Address, net.Prefix.Bits()),
		Gateway: net.Router, DNS: net.DNS, Image: o.Image.Ref.String(), Kernel: o.Image.Kernel, Now: time.Now(),
	}
	why, err := d.offer(ctx, o)
	if err == nil && why == "" {
		err = d.mounts(spec, o, net)
	}
	if err != nil {
		d.log.Error("mounts", "mac", o.Node.MAC, "node", o.Slot.Name, "err", err)
		why = "the boot server cannot offer its file systems; its log says why"
	}
	if why != "" {
		return agent.Reply{Wait: why}, nil
	}
	if err := d.files(ctx, spec, o, net); err != nil {
		d.log.Error("files", "mac", o.Node.MAC, "node", o.Slot.Name, "err", err)
		return agent.Reply{Wait: "the node's files cannot be made: " + clip(err.Error())}, nil
	}
	return agent.Reply{Spec: spec}, nil
}

func factsOfHello(i agent.Inventory) roles.Facts {
	inv := &roles.Inventory{Memory: i.Memory, CPUs: i.CPUs, CPU: i.CPU}
	for _, n := range i.NICs {
		mac, _ := roles.ParseMAC(n.MAC)
		inv.NICs = append(inv.NICs, roles.NIC{Name: n.Name, MAC: mac, Driver: n.Driver, Speed: n.Speed, Link: n.Link})
	}
	for _, k := range i.Disks {
		inv.Disks = append(inv.Disks, roles.Disk(k))
	}
	return roles.Facts{UUID: strings.ToLower(i.UUID), Manufacturer: i.Manufacturer, Product: i.Product, Serial: i.Serial,
		Asset: i.Asset, Inventory: inv}
}
