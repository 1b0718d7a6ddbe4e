package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"muster/roles"
	"muster/tests/rack"
)

// pairYAML declares a storage pair and a pool of web machines that have everything from it. A web machine appends
// numbered records to its volume (see recorder), and shows them, with its server's log, on the ports 81 and 82.
const pairYAML = `
roles:
- {name: storage, build: {kernel: cloud}, cmdline: systemd.journald.forward_to_console=1}
- name: web
  build: {kernel: cloud}
  cmdline: systemd.journald.forward_to_console=1
  health: {http: {port: 80, path: /}, interval: 1s}
  volumes:
  - {name: www, mount: /srv/www}
  - {name: data, mount: /srv/data}
  files:
  - path: /etc/nginx/conf.d/records.conf
    content: |
      server { listen 81; root /srv/data; }
      server { listen 82; root /var/log/nginx; }
  - {path: /etc/systemd/system/multi-user.target.d/recorder.conf, content: "[Unit]\nWants=recorder.service\n"}
  - path: /etc/systemd/system/recorder.service
    content: |
      [Unit]
      After=nginx.service
      [Service]
      ExecStart=/usr/local/lib/recorder
      Restart=always
      RestartSec=1
  - path: /usr/local/lib/recorder
    mode: 0755
    content: |
      #!/bin/bash
      # A record is number, boot, nginx's process, this process. The file stays open, as a database's does.
      file=/srv/data/records
      read -r boot </proc/sys/kernel/random/boot_id
      exec 3<>/dev/tcp/{{.Server}}/9000 4>>"$file" || exit 1
      n=$(tail -n 1 "$file" | cut -d' ' -f1)
      while n=$((n + 1)); do
        read -r nginx </run/nginx.pid
        record="$n $boot $nginx $$"
        if why=$(dd conv=fsync,notrunc status=none <<<"$record" 2>&1 >&4); then
          echo "$record" >&3 || exit 1
        else
          echo "error $record: ${why//$'\n'/; }" >&3
        fi
      done
pools:
- name: storage
  role: storage
  size: {min: 2, max: 2}
  addresses: 10.77.0.10-10.77.0.11
  pair: {address: 10.77.0.9, disk: {serial: "DATA-*"}}
  match: {product: [storage]}
  priority: 30
  takeover: 1s
- {name: web, role: web, storage: storage, size: {min: 1, max: 4}, addresses: 10.77.0.20-10.77.0.23, match: {product: [web]}, priority: 30}
- {name: ntp, role: ntp, size: {min: 1, max: 4}, addresses: 10.77.0.30-10.77.0.33, match: {firmware: [uefi]}}
`

// floating is the pair's address.
const floating = "10.77.0.9"

// pairSite is a site whose web machine lives on a storage pair.
type pairSite struct {
	*site
	began time.Time
	rec   *recorder
	page  *pageLoop
	web   *rack.Machine
	// killed is what died last.
	killed *death
}

// death is the end of a half.
type death struct {
	slot string
	at   time.Time
}

// newPairSite declares the pair and the pools; no machine is on.
func newPairSite(t *testing.T) *pairSite {
	t.Helper()
	if os.Getuid() == 0 { // otherwise newSite skips the test
		declared := filepath.Join(work.dir, "pair.yaml")
		write(t, declared, pairYAML)
		if err := buildImage("storage", declared); err != nil {
			t.Fatal(err)
		}
	}
	p := &pairSite{site: newSite(t), killed: &death{}}
	declared := filepath.Join(p.dir, "pair.yaml")
	write(t, declared, pairYAML)
	p.muster("apply", "-f", declared)
	p.muster("image", "pack", "web") // the pair gets it packed; to do that is not part of a cold start
	p.rec = newRecorder(t, p.rack)
	t.Cleanup(p.keep)
	return p
}

// in is the same site for a test within the test.
func (p *pairSite) in(t *testing.T) *pairSite {
	inner := *p
	inner.site = p.site.in(t)
	return &inner
}

// keep copies consoles and logs into the directory MUSTER_E2E_KEEP, if that is set: a failed failover is understood
// from what all three machines said.
func (p *pairSite) keep() {
	dir := os.Getenv("MUSTER_E2E_KEEP")
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.t.Log(err)
		return
	}
	for _, m := range p.rack.Machines() {
		if b, err := os.ReadFile(m.ConsoleFile()); err == nil {
			write(p.t, filepath.Join(dir, m.Name()+".console"), string(b))
		}
	}
	write(p.t, filepath.Join(dir, "serve.log"), p.log.String())
	out, _ := p.try("events", "--last", "1000")
	write(p.t, filepath.Join(dir, "events"), out)
	v, err := p.client.Pair(context.Background(), "storage")
	write(p.t, filepath.Join(dir, "pair.json"), fmt.Sprint(asJSON(v), "\n", err))
}

func asJSON(v any) string {
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

// storageMachine is the spec of a machine for the pair, with a blank disk.
func (p *pairSite) storageMachine(name string) rack.MachineSpec {
	return rack.MachineSpec{
		Name: name, Firmware: rack.BIOS, Product: "storage", MemoryMiB: 1280,
		Disks: []rack.Disk{{SizeMiB: 512, Serial: fmt.Sprintf("DATA-%d", len(p.rack.Machines())+1)}},
	}
}

// storage waits until the pair is as the test wants it. Whatever a test waits for, two halves that both say that they
// are the active one are a failure.
func (p *pairSite) storage(what string, until func(roles.PairView) bool) roles.PairView {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	var last roles.PairView
	for ctx.Err() == nil {
		if v, err := p.client.Pair(ctx, "storage"); err == nil {
			last = v
			p.oneActive(v)
			if until(v) {
				return v
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	p.t.Fatalf("the pair is not %s: it is %s", what, asJSON(last))
	return last
}

// oneActive fails the test when two halves have lately said that they are active.
func (p *pairSite) oneActive(v roles.PairView) {
	p.t.Helper()
	var active []string
	for _, h := range v.Halves {
		if h.Active && fresh(h) {
			active = append(active, h.Slot)
		}
		if h.Split {
			p.t.Errorf("%s says that both sides were written: %s", h.Slot, asJSON(v))
		}
	}
	if len(active) > 1 {
		p.t.Errorf("two halves are active: %s", asJSON(v))
	}
}

// fresh says whether a half has spoken lately: what one says that was cut off since is not what it is.
func fresh(h roles.HalfView) bool { return time.Since(h.Heard) < 5*time.Second }

// active is the slot that serves now; "" for none.
func active(v roles.PairView) string {
	for _, h := range v.Halves {
		if v.Serving && h.Active && fresh(h) {
			return h.Slot
		}
	}
	return ""
}

// other is the other half's slot.
func other(slot string) string {
	if slot == "storage-01" {
		return "storage-02"
	}
	return "storage-01"
}

// whole says whether both halves have all data, see each other and the third vote, and one of them serves.
func whole(v roles.PairView) bool {
	healthy := func(h roles.HalfView) bool {
		return h.Phase == roles.PhaseCluster && h.DiskState == "UpToDate" && h.Connection == "Connected" && h.Joined && h.Quorate && h.QDevice && fresh(h)
	}
	return v.State == roles.PairWhole && v.Outdated == "" && active(v) != "" && len(v.Halves) == 2 && healthy(v.Halves[0]) && healthy(v.Halves[1])
}

// settled waits until the pair is whole, and gives its active half.
func (p *pairSite) settled() string {
	p.t.Helper()
	return active(p.storage("whole", whole))
}

// serves waits until a half is the active one and records are acknowledged again.
func (p *pairSite) serves(slot string) {
	p.t.Helper()
	p.storage("served by "+slot, func(v roles.PairView) bool { return active(v) == slot })
	p.rec.goesOn(p.t, 5)
}

// half is the machine in a slot.
func (p *pairSite) half(slot string) *rack.Machine {
	p.t.Helper()
	n, err := p.client.Node(p.t.Context(), slot)
	if err != nil {
		p.t.Fatal(err)
	}
	m := p.rack.Machine(n.MAC)
	if m == nil {
		p.t.Fatalf("the rack has no machine %s, which is in %s", n.MAC, slot)
	}
	return m
}

// happens waits until ok is true, which is looked at often.
func (p *pairSite) happens(what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// file gets a file from the web machine.
func (p *pairSite) file(url string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	b, err := fetch(ctx, p.rack, url)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// says prints a scenario's line.
func (p *pairSite) says(n int, format string, args ...any) {
	fmt.Fprintf(os.Stdout, "pair: %d: %s\n", n, fmt.Sprintf(format, args...))
}

// since is how many seconds have passed.
func since(t time.Time) float64 { return time.Since(t).Seconds() }

var arpReply = regexp.MustCompile(`reply from [0-9.]+ \[([0-9a-f:]+)\]`)

// owners are the hardware addresses that answer for an address in the rack.
func (p *pairSite) owners(address string) []string {
	p.t.Helper()
	out, err := p.outside("busybox", "arping", "-b", "-c", "3", "-I", rack.BridgeName, address)
	if err != nil {
		p.t.Fatal(err)
	}
	var macs []string
	for _, m := range arpReply.FindAllStringSubmatch(out, -1) {
		macs = append(macs, m[1])
	}
	slices.Sort(macs)
	return slices.Compact(macs)
}
