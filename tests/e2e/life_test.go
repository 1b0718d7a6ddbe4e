package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
	"muster/tests/rack"
)

// helpers are the programs that a server runs beside itself.
var helpers = []string{"ganesha.nfsd", "rpcbind"}

// TestStop: SIGTERM ends the server and its helpers, while clients wait for answers that take their time.
func TestStop(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	s.eventually("NFS answers", s.answersNFS)
	if got := s.processes(helpers...); len(got) != 2 {
		t.Fatalf("helpers are %v", got)
	}
	// No pool takes this machine: its agent waits.
	s.publish("ntp")
	write(t, filepath.Join(s.dir, "rack.yaml"), strings.ReplaceAll(rackYAML, "[bios]", "[uefi]"))
	s.muster("apply", "-f", filepath.Join(s.dir, "rack.yaml"))
	followed := s.follow()
	a := s.boots(machineMAC(1))
	token := s.ticket(machineMAC(1), a)
	polled := make(chan int, 1)
	go func() { polled <- s.post("/v1/agent/spec", ask(machineMAC(1), token)) }() // ends with the server
	s.eventually("the agent waits", func() bool { return s.metric("muster_httpboot_waiting_agents") > 0 })

	s.stop()
	if left := s.processes(append(helpers, "muster")...); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if _, err := os.Stat(s.socket); err == nil {
		t.Error("the socket is left")
	}
	for what, c := range map[string]<-chan int{"poll": polled, "stream": followed} {
		select {
		case <-c:
		case <-time.After(10 * time.Second):
			t.Errorf("the %s did not end with the server", what)
		}
	}
	if errs := strings.Count(s.log.String(), "level=ERROR"); errs > 0 {
		t.Errorf("a clean stop logged %d errors:\n%s", errs, s.log.String())
	}
	s.start() // and it comes back
	s.serves(machineMAC(2))
}

// TestKill: SIGKILL leaves no helper, and what it leaves does not keep the next server from starting.
func TestKill(t *testing.T) {
	s := newBare(t, nil)
	for range 3 {
		s.start()
		s.eventually("NFS answers", s.answersNFS)
		s.kill()
		s.eventually("its helpers have died with it", func() bool { return s.none(helpers...) })
		if _, err := os.Stat(s.socket); err != nil {
			t.Fatalf("the stale socket is what this test is about: %v", err)
		}
	}
	s.start()
	s.eventually("NFS answers", s.answersNFS)
	s.serves(machineMAC(1))
	// systemd does not wait for the helpers to be gone.
	s.kill()
	s.start()
	s.eventually("NFS answers", s.answersNFS)
	s.serves(machineMAC(1))
}

// TestGaneshaDies: the NFS server is killed again and again, and comes back by itself each time.
func TestGaneshaDies(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	for round := range 3 {
		s.eventually("NFS answers", s.answersNFS)
		before := s.processes("ganesha.nfsd")
		if len(before) != 1 {
			t.Fatalf("ganesha is %v", before)
		}
		pid, err := strconv.Atoi(strings.Fields(before[0])[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// What is exported changes just now: the new pool's addresses may write.
		write(t, filepath.Join(s.dir, "rack.yaml"), strings.ReplaceAll(rackYAML, "10.77.0.30-", "10.77.0."+strconv.Itoa(30-round)+"-"))
		s.muster("apply", "-f", filepath.Join(s.dir, "rack.yaml"))
		s.eventually("another ganesha runs", func() bool {
			now := s.processes("ganesha.nfsd")
			return len(now) == 1 && now[0] != before[0]
		})
	}
	s.eventually("NFS answers", s.answersNFS)
	log := s.log.String()
	for want, n := range map[string]int{`msg="nfs-ganesha ended"`: 3, "signal: killed": 3, `msg="nfs-ganesha started"`: 4} {
		if got := strings.Count(log, want); got != n {
			t.Errorf("the log says %s %d times, want %d:\n%s", want, got, n, log)
		}
	}
	s.eventually("the last pool is exported to", func() bool {
		conf, err := os.ReadFile(filepath.Join(s.dir, "data/run/nfs/ganesha.conf"))
		return err == nil && strings.Contains(string(conf), "10.77.0.28/30")
	})
	if strings.Contains(s.log.String(), "exports not changed") {
		t.Error("the exports could not be changed while ganesha was away")
	}
	if got := s.metric("muster_nfs_failures_total"); got != 3 {
		t.Errorf("%v failures counted, want 3", got)
	}
}

func (s *site) answersNFS() bool {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Second)
	defer cancel()
	c, err := s.rack.Dial(ctx, "tcp", "127.0.0.1:2049")
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// TestInterfaceFlaps: the interface goes down and up, is removed and made anew, while the server runs.
func TestInterfaceFlaps(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	s.serves(machineMAC(1))
	t.Run("down and up", func(t *testing.T) {
		s := s.in(t)
		s.run("ip", "link", "set", rack.BridgeName, "down")
		if a, err := s.lease(machineMAC(2)); err == nil {
			t.Fatalf("a lease of %s over an interface that is down", a)
		}
		s.run("ip", "link", "set", rack.BridgeName, "up")
		s.serves(machineMAC(2))
	})
	t.Run("made anew", func(t *testing.T) {
		s := s.in(t)
		s.run("ip", "link", "del", rack.BridgeName)
		if a, err := s.lease(machineMAC(3)); err == nil {
			t.Fatalf("a lease of %s over an interface that is gone", a)
		}
		s.run("ip", "link", "add", rack.BridgeName, "type", "bridge")
		s.run("ip", "addr", "add", s.rack.Server().String(), "dev", rack.BridgeName)
		s.run("ip", "link", "set", rack.BridgeName, "up")
		s.run("ip", "link", "set", nic+"p", "master", rack.BridgeName)
		s.serves(machineMAC(3))
	})
	if !strings.Contains(s.log.String(), "the interface was made anew") {
		t.Error("the log does not say that the interface was made anew")
	}
}

// TestImageNotBuilt: a machine is told what is missing, and goes on by itself when it is there.
func TestImageNotBuilt(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	mac := machineMAC(1)
	a := s.boots(mac)
	if script := s.script(mac, a); !strings.Contains(script, "waits: no image is built yet; build one: muster image build ROLE") {
		t.Errorf("without any pool it reads:\n%s", script)
	}
	write(t, filepath.Join(s.dir, "rack.yaml"), rackYAML)
	s.muster("apply", "-f", filepath.Join(s.dir, "rack.yaml"))
	script := s.script(mac, a)
	for _, want := range []string{`Muster: waits: images: there is no image "web": build it: muster image build web`, "sleep ", "chain --replace --autofree ${muster-again}", "set muster-again http://10.77.0.1:8080/ipxe?"} {
		if !strings.Contains(script, want) {
			t.Errorf("the script does not say %q:\n%s", want, script)
		}
	}
	if out := s.muster("node", "show", mac.String()); !strings.Contains(out, "muster image build web") {
		t.Errorf("node show does not say it:\n%s", out)
	}
	s.publish("web")
	if script := s.script(mac, a); !strings.Contains(script, "boots web:1 as web-01") || !strings.Contains(script, "kernel --name vmlinuz http://10.77.0.1:8080/images/web/1/vmlinuz") {
		t.Errorf("with the image it reads:\n%s", script)
	}
}

// publish puts an image into the catalog that no machine could run, but every service can serve.
func (s *site) publish(name string) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "data/images", name, "1")
	if err := os.MkdirAll(filepath.Join(dir, images.TreeDir), 0o755); err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(dir, images.KernelFile), "kernel")
	write(s.t, filepath.Join(dir, images.InitrdFile), "initrd")
	b, err := json.Marshal(images.Image{Ref: images.Ref{Name: name, Version: 1}, Kernel: "6.1.0-test", Arch: "x86_64", KernelSize: 6, InitrdSize: 6})
	if err != nil {
		s.t.Fatal(err)
	}
	write(s.t, filepath.Join(dir, images.ImageFile), string(b))
	if err := os.Symlink("1", filepath.Join(dir, "../current")); err != nil {
		s.t.Fatal(err)
	}
}

// boots begins a boot of a machine: its firmware gets an address. It gives the address as text.
func (s *site) boots(mac roles.MAC) string {
	s.t.Helper()
	a, err := s.lease(mac, pxe...)
	if err != nil {
		s.t.Fatalf("%s gets no lease: %v", mac, err)
	}
	return a.String()
}

// follow follows the events of the rack; the channel gets the HTTP status when the stream ends.
func (s *site) follow() <-chan int {
	ended := make(chan int, 1)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://127.0.0.1:8081/v1/events?follow=true", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	token, err := os.ReadFile(filepath.Join(s.dir, "data/api.token"))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	resp, err := s.rack.HTTPClient().Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("follow: %v, %v", resp, err)
	}
	go func() { // ends with the stream
		defer resp.Body.Close()
		for r := bufio.NewScanner(resp.Body); r.Scan(); {
		}
		ended <- resp.StatusCode
	}()
	return ended
}
