package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// webSpec is a spec with everything in it.
func webSpec() *Spec {
	server := netip.MustParseAddr("10.77.0.1")
	return &Spec{
		Hostname: "web-03", Domain: "rack.example", Address: netip.MustParsePrefix("10.77.0.22/24"),
		Gateway: server, DNS: []netip.Addr{server}, Image: "web:7", Kernel: "6.1.0-test",
		Root:   Mount{Type: "nfs", Server: server, Path: "/images/web/7/tree"},
		Mounts: []Mount{{Type: "nfs", Server: server, Path: "/state/web-03", Target: "/var/lib/web"}},
		Files:  []File{{Path: "/etc/motd", Content: []byte("hi")}},
	}
}

// The way of a machine that nobody knew: hello, wait, spec, and everything in its order.
func TestBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, k := machineTree(t), &fakeKernel{}
		d := &fakeDirector{t: t, replies: []Reply{{Wait: "no pool takes it"}, {Wait: "no pool takes it"}, {Spec: webSpec()}}}
		a, scr := newAgent(root, k, servers{"one": d})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(`mount proc proc ROOT/proc
mount sysfs sysfs ROOT/sys
mount devtmpfs devtmpfs ROOT/dev
up lo
up eth0
address eth0 10.77.0.100/24
probe eth0 10.77.0.22
address eth0 10.77.0.22/24
announce eth0 10.77.0.22
hostname web-03
mount nfs 10.77.0.1:/images/web/7/tree ROOT/ro
mount tmpfs muster ROOT/rw
mount overlay muster ROOT/sysroot
as 65534
mount tmpfs tmpfs ROOT/sysroot/run
mount nfs 10.77.0.1:/state/web-03 ROOT/sysroot/var/lib/web
announce eth0 10.77.0.22
switch-root /sbin/init ["single"]`, "ROOT", root)
		if got := strings.Join(k.done, "\n"); got != want {
			t.Errorf("done:\n%s\nwant:\n%s", got, want)
		}
		if want := []string{"hello", "spec", "spec"}; !slices.Equal(d.asked, want) {
			t.Errorf("asked %q, want %q", d.asked, want)
		}
		h := d.hellos[0]
		if h.MAC != "52:54:00:aa:00:01" || h.Token != "secret" || h.Kernel != "6.1.0-test" || h.Uptime != 12500*time.Millisecond || len(h.Inventory.NICs) != 1 {
			t.Errorf("hello is %+v", h)
		}
		d.wantSteps("hello", "network", "root", "mount", "files", "switch-root")
		for name, want := range map[string]string{
			"etc/hostname": "web-03\n", "etc/motd": "hi", "etc/resolv.conf": "search rack.example\nnameserver 10.77.0.1\n",
			"etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.77.0.22 web-03.rack.example web-03\n",
		} {
			if b, err := os.ReadFile(root + "/sysroot/" + name); string(b) != want {
				t.Errorf("%s is %q (%v), want %q", name, b, err, want)
			}
		}
		scr.shows(t, "waiting: no pool takes it", "boot spec: web:7 as web-03")
		if n := strings.Count(scr.String(), "no pool takes it"); n != 1 {
			t.Errorf("the same wait was shown %d times in a second", n)
		}
	})
}

// Every server is tried, for ever; the events that a server could not take come again.
func TestBootThroughFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{fail: map[string][]error{
			"up eth0": {errBusy}, "address": {errBusy}, "mount nfs 10.77.0.1:/images": {errBusy, errBusy}, "mount nfs 10.77.0.1:/state": {errBusy},
			"hostname": {errBusy}, "unmount": nil,
		}}
		d := &fakeDirector{t: t, replies: []Reply{{Spec: webSpec()}}, refuse: map[string][]int{
			PathHello: {500, 503}, PathSpec: {500}, PathEvents: {500, 500, 403, 500},
		}}
		a, scr := newAgent(machineTree(t), k, lateServers{time.Now().Add(time.Hour), servers{"two": d}})
		start := time.Now()
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < time.Hour || took > time.Hour+5*time.Minute {
			t.Errorf("it took %v: the servers were away for an hour", took)
		}
		d.wantSteps("hello", "network", "network!", "root!", "root!", "root", "mount!", "root", "mount", "files", "switch-root")
		scr.shows(t, "http://one: dial one: connection refused", "http://two: dial two: connection refused", "again in 30s", "hello: http://two answers")
		undone := strings.Count(k.calls("unmount"), "\n") + 1
		if undone != 4 { // after the failed mount
			t.Errorf("%d unmounts:\n%s", undone, k.calls("unmount"))
		}
	})
}

func TestReboot(t *testing.T) {
	other := webSpec()
	other.Kernel = "6.12.0"
	for name, tc := range map[string]struct {
		replies []Reply
		refuse  map[string][]int
		why     string
	}{
		"the server wants it":        {[]Reply{{Wait: "w"}, {Reboot: "assigned to ntp"}}, nil, "assigned to ntp"},
		"another kernel":             {[]Reply{{Spec: other}}, nil, "web:7 needs the kernel 6.12.0, this is 6.1.0-test"},
		"the token is never taken":   {nil, map[string][]int{PathHello: slices.Repeat([]int{403}, refusals)}, "no boot server takes this boot's token"},
		"the new spec is a restart":  {[]Reply{{Spec: &Spec{Image: "bad"}}, {Reboot: "changed"}}, nil, "changed"},
		"released, then it restarts": {[]Reply{{Spec: &Spec{Image: "bad"}}, {Wait: "w"}, {Reboot: "changed"}}, nil, "changed"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &fakeKernel{}
				d := &fakeDirector{t: t, replies: tc.replies, refuse: tc.refuse}
				a, scr := newAgent(machineTree(t), k, servers{"one": d, "two": d})
				if tc.replies == nil { // one server only, so that each refusal counts
					a.HTTP.Transport = servers{"two": d}
				}
				err := a.Run(t.Context())
				if err == nil || !strings.Contains(err.Error(), tc.why) {
					t.Errorf("Run: %v, want %q", err, tc.why)
				}
				if k.calls("reboot") != "reboot" || k.calls("switch-root") != "" {
					t.Errorf("done: %q", k.done)
				}
				scr.shows(t, tc.why, "restart in 5s")
				last := d.events[len(d.events)-1]
				if last.Step != "reboot" || !strings.Contains(last.Message, tc.why) {
					t.Errorf("the last event is %+v", last)
				}
			})
		})
	}
}

// Without its parameters a machine says what is missing, and gives people time to read it.
func TestRebootWithoutParameters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, k := machineTree(t), &fakeKernel{}
		write(t, root, map[string]string{"proc/cmdline": "quiet muster.mac=x"})
		a, scr := newAgent(root, k, servers{})
		start := time.Now()
		if err := a.Run(t.Context()); err == nil {
			t.Error("no error")
		}
		if time.Since(start) != failPause || k.calls("reboot", "up") != "reboot" {
			t.Errorf("after %v: %q", time.Since(start), k.done)
		}
		scr.shows(t, `muster.ip= is missing`, `muster.mac="x" is not`, "muster.server= is missing", "restart in 1m0s")
	})
}

// An address that somebody has is never taken; when it is free again, the boot goes on.
func TestAddressInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{owner: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
		d := &fakeDirector{t: t, replies: []Reply{{Spec: webSpec()}}}
		a, _ := newAgent(machineTree(t), k, servers{"one": d})
		time.AfterFunc(10*time.Minute, func() {
			if got := k.calls("address"); got != "address eth0 10.77.0.100/24" {
				t.Errorf("addresses set: %q", got)
			}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.owner = nil
		})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		steps := d.steps()
		if n := len(steps); n < 6 || n > 12 || steps[1] != "network!" {
			t.Errorf("events are %q: want a few of the failure", steps)
		}
		if e := d.events[1].Error; !strings.Contains(e, "10.77.0.22 is in use: 02:00:00:00:00:09 answers") {
			t.Errorf("the event says %q", e)
		}
	})
}

// leaving is a transport that looks at the agent when its connections are given up.
type leaving struct {
	servers
	look func()
}

func (l leaving) CloseIdleConnections() { l.look() }

// The event of the new address must not take a connection that is bound to the old one: no answer would come,
// and the boot would wait for it.
func TestNewAddressNewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDirector{t: t, replies: []Reply{{Spec: webSpec()}}}
		var a *Agent
		var before [][]string
		a, _ = newAgent(machineTree(t), &fakeKernel{}, leaving{servers{"one": d}, func() {
			steps := d.steps()
			queue, _ := a.events.pending()
			for _, ev := range queue {
				steps = append(steps, ev.Step)
			}
			before = append(before, steps)
		}})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(before) != 1 || slices.Contains(before[0], "network") {
			t.Errorf("connections given up after %q, want once, before the step network", before)
		}
	})
}

// A node whose lease is its slot's address already keeps it; a server that forgot the boot gets another
// hello.
func TestBootKeepsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := webSpec()
		spec.Address = netip.MustParsePrefix("10.77.0.100/24")
		k := &fakeKernel{fail: map[string][]error{"mount overlay": {errBusy}}}
		d := &fakeDirector{t: t, replies: []Reply{{Wait: "w"}, {Wait: "w"}, {Spec: spec}}, refuse: map[string][]int{PathSpec: {404}}}
		a, _ := newAgent(machineTree(t), k, servers{"one": d})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if want := []string{"hello", "hello", "spec", "spec"}; !slices.Equal(d.asked, want) {
			t.Errorf("asked %q, want %q", d.asked, want)
		}
		d.wantSteps("hello", "hello", "network", "root!", "root", "mount", "files", "switch-root")
		if got := k.calls("probe", "address"); got != "address eth0 10.77.0.100/24" {
			t.Errorf("done: %q", got)
		}
	})
}

// A clock that is an hour off takes the server's time; one that is nearly right does not.
func TestClock(t *testing.T) {
	for off, want := range map[time.Duration]string{
		30 * time.Second: "", -59 * time.Second: "", -time.Hour: "time 1999-12-31T23:00:00Z", time.Hour: "time 2000-01-01T01:00:00Z",
	} {
		synctest.Test(t, func(t *testing.T) {
			k := &fakeKernel{}
			a, _ := newAgent("", k, nil)
			a.setClock(time.Now().Add(off))
			if got := k.calls("time"); got != want {
				t.Errorf("%v off: %q, want %q", off, got, want)
			}
		})
	}
}

// A boot never waits for ever for its last events.
func TestHandOverWithoutServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &fakeKernel{}
		d := &fakeDirector{t: t, replies: []Reply{{Spec: webSpec()}}, refuse: map[string][]int{PathEvents: slices.Repeat([]int{500}, 1000)}}
		a, scr := newAgent(machineTree(t), k, servers{"one": d})
		start := time.Now()
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != flushTime {
			t.Errorf("it took %v, want %v", took, flushTime)
		}
		scr.shows(t, "the last events were not delivered; the boot goes on")
	})
}

// An image without an init is not handed over to: process 1 would be lost.
func TestNoInit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root, k := machineTree(t), &fakeKernel{}
		if err := os.Remove(root + "/sysroot/usr/sbin/init"); err != nil {
			t.Fatal(err)
		}
		d := &fakeDirector{t: t, replies: []Reply{{Spec: webSpec()}, {Reboot: "enough"}}}
		a, scr := newAgent(root, k, servers{"one": d})
		if err := a.Run(t.Context()); err == nil || k.calls("switch-root") != "" {
			t.Errorf("Run: %v; done %q", err, k.done)
		}
		scr.shows(t, "web:7 has no /sbin/init")
	})
}

// Ctx ends a boot at any wait, and then nothing is restarted.
func TestRunEnds(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"no NIC": {"sys/class/net/eth0/address": "other"}, "no link": {"sys/class/net/eth0/carrier": "0"}, "no server": {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				root, k := machineTree(t), &fakeKernel{}
				write(t, root, files)
				a, scr := newAgent(root, k, servers{"one": http.NotFoundHandler()})
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := a.Run(ctx); !errors.Is(err, context.DeadlineExceeded) || k.calls("reboot") != "" {
					t.Errorf("Run: %v; done %q", err, k.done)
				}
				if lines := strings.Count(scr.String(), "\n"); lines < 2 || lines > 30 {
					t.Errorf("%d lines in a minute:\n%s", lines, scr)
				}
			})
		})
	}
}

// A disk controller that takes its time keeps the inventory waiting, and the screen says for what.
func TestSlowDriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := machineTree(t)
		write(t, root, map[string]string{
			"lib/modules/6.1.0-test/modules.alias": "alias pci:v2 slowdisk\n",
			"lib/modules/6.1.0-test/slowdisk.ko":   "",
			"sys/devices/pci/disk/modalias":        "pci:v2\n",
			"sys/bus/pci/devices/disk":             "-> ../../../devices/pci/disk",
		})
		if err := os.WriteFile(root+"/lib/modules/6.1.0-test/modules.dep", []byte("slowdisk.ko:\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		k := &fakeKernel{onLoad: func(string) { time.Sleep(5 * time.Minute) }}
		d := &fakeDirector{t: t, replies: []Reply{{Spec: webSpec()}}}
		a, scr := newAgent(root, k, servers{"one": d})
		if err := a.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		const text = "a driver has not finished with its device yet"
		if n := strings.Count(scr.String(), text); n < 4 {
			t.Errorf("said %d times in five minutes:\n%s", n, scr)
		}
		d.wantSteps("hello!", "hello", "network", "root", "mount", "files", "switch-root")
	})
}
