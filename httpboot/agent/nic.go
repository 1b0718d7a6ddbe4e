package agent

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// nics lists the Ethernet interfaces that are hardware: they have a device. One that is enslaved is left
// out: under Hyper-V and in bonds it shows the MAC of its master.
func nics(sys string) []NIC {
	dirs, _ := filepath.Glob(filepath.Join(sys, "class/net/*"))
	var out []NIC
	for _, dir := range dirs {
		if readWord(filepath.Join(dir, "type")) != "1" { // ARPHRD_ETHER
			continue
		}
		driver := linkName(filepath.Join(dir, "device/driver"))
		if linkName(filepath.Join(dir, "device")) == "" || linkName(filepath.Join(dir, "master")) != "" {
			continue
		}
		speed, _ := strconv.Atoi(readWord(filepath.Join(dir, "speed")))
		out = append(out, NIC{
			Name: filepath.Base(dir), MAC: readWord(filepath.Join(dir, "address")), Driver: driver,
			Speed: max(speed, 0), // -1 when not known
			Link:  readWord(filepath.Join(dir, "carrier")) == "1",
		})
	}
	slices.SortFunc(out, func(a, b NIC) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// nicPoll is the time between two looks at /sys: a driver takes tenths of a second to show its NIC.
const nicPoll = 100 * time.Millisecond

// waitNIC loads drivers until the NIC with the boot MAC is there, and gives its name: first those of network
// controllers, since a disk controller may take its time. It ends only with ctx; meanwhile the console says what
// is there and what has no driver.
func (a *Agent) waitNIC(ctx context.Context) (string, error) {
	a.loadDrivers(true)
	for start := time.Now(); ; {
		found := nics(a.path("/sys"))
		for _, n := range found {
			if strings.EqualFold(n.MAC, a.params.MAC) {
				a.Console.Say("boot NIC %s is %s (%s)", n.MAC, n.Name, cmp.Or(n.Driver, "no driver name"))
				return n.Name, nil
			}
		}
		a.loadDrivers(false)
		if time.Since(start) > 5*time.Second {
			a.Console.Remind("waiting for the NIC %s: %s", a.params.MAC, a.whyNoNIC(found))
		}
		if err := sleep(ctx, a.pause(nicPoll, start)); err != nil {
			return "", err
		}
	}
}

// pause stretches a poll to a second when the wait is long: walking /sys costs.
func (a *Agent) pause(d time.Duration, start time.Time) time.Duration {
	if time.Since(start) > 30*time.Second {
		return max(d, time.Second)
	}
	return d
}

// whyNoNIC is a sentence for the technician in front of the machine.
func (a *Agent) whyNoNIC(found []NIC) string {
	var parts []string
	for _, n := range found {
		parts = append(parts, fmt.Sprintf("%s is %s (%s)", n.Name, n.MAC, n.Driver))
	}
	for _, d := range devices(a.path("/sys")) {
		if d.driver != "" || !d.network() {
			continue
		}
		why := "has no driver in this image's initrd"
		if drivers := a.mods.match(d.modalias); len(drivers) > 0 {
			// As bnx2 and bnx2x do without their firmware.
			why = "was refused by its driver " + strings.Join(drivers, ", ") + "; the kernel's lines above say why, often missing firmware"
		}
		parts = append(parts, fmt.Sprintf("%s %s (%s)", filepath.Base(d.path), why, d.modalias))
	}
	if len(parts) == 0 {
		return "the machine shows no network device at all"
	}
	return strings.Join(parts, "; ")
}

// waitCarrier waits for the link. It ends only with ctx.
func (a *Agent) waitCarrier(ctx context.Context, nic string) error {
	file := a.path("/sys/class/net/" + nic + "/carrier")
	for start := time.Now(); readWord(file) != "1"; {
		a.preload(likelyModules(a.params))
		if time.Since(start) > 3*time.Second {
			a.Console.Remind("waiting for the link of %s: is the cable in, is the switch port on?", nic)
		}
		if err := sleep(ctx, a.pause(nicPoll, start)); err != nil {
			return err
		}
	}
	return nil
}

// upNetwork brings the boot NIC up with the address of the command line, trying for ever.
func (a *Agent) upNetwork(ctx context.Context) error {
	nic, err := a.waitNIC(ctx)
	if err != nil {
		return err
	}
	a.drivers = make(chan struct{})
	go func() { // ends when every device had its chance
		defer close(a.drivers)
		a.loadDrivers(false)
	}()
	b := backoff{min: time.Second, max: 30 * time.Second}
	for {
		err := a.bringUp(ctx, nic)
		if err == nil {
			a.nic, a.address = nic, a.params.Address
			a.Console.Say("%s is up with %v", nic, a.address)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d := b.step()
		a.Console.Fail("%s: %v; again in %s", nic, err, rounded(d))
		if err := sleep(ctx, d); err != nil {
			return err
		}
	}
}

func (a *Agent) bringUp(ctx context.Context, nic string) error {
	if err := a.Network.Up("lo"); err != nil {
		a.Console.Fail("lo: %v", err) // no reason to stop: the image sets it up again
	}
	if err := a.Network.Up(nic); err != nil {
		return fmt.Errorf("switch on: %w", err)
	}
	if err := a.waitCarrier(ctx, nic); err != nil {
		return err
	}
	if err := a.Network.SetAddress(nic, a.params.Address, a.params.Gateway); err != nil {
		return fmt.Errorf("set %v: %w", a.params.Address, err)
	}
	return nil
}

func rounded(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(100 * time.Millisecond)
	}
	return d.Round(time.Second)
}
