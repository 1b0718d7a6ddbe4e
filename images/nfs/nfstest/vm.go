package nfstest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/images/nfs"
	"muster/images/nfs/nfstest/wire"
)

// Addresses of the test's network. It is in a namespace of its own, so they need not be free elsewhere.
const (
	serverAddress = "10.199.0.1"
	clientAddress = "10.199.0.2"
)

// The machine is emulated: KVM is missing or broken on many build machines. bootTimeout is generous: a busy machine the kernel takes half a minute.
const bootTimeout = 5 * time.Minute

// servePort is where a server's machine waits for the client's.
const servePort = 7000

// vm is a virtual machine with the kernel's NFS client.
type vm struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Scanner
}

// boot starts the machine and waits until its client says hello. Call it in a network namespace, or in a
// server's machine: there the client's was started from outside.
func boot(t *testing.T) *vm {
	t.Helper()
	if InMachine() {
		l, err := net.Listen("tcp", net.JoinHostPort(serverAddress, strconv.Itoa(servePort)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return meet(t, l, nil)
	}
	kernel, initrd := bootFiles(t)
	tap := "nfst" + strconv.Itoa(os.Getpid()%100000)
	command(t, exec.Command("ip", "tuntap", "add", tap, "mode", "tap"))
	t.Cleanup(func() { command(t, exec.Command("ip", "link", "del", tap)) })
	command(t, exec.Command("ip", "addr", "add", serverAddress+"/24", "dev", tap))
	command(t, exec.Command("ip", "link", "set", tap, "up"))
	l, err := net.Listen("tcp", serverAddress+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return meet(t, l, startClient(t, kernel, initrd, l.Addr().String(), "tap,id=n,script=no,downscript=no,ifname="+tap))
}

// startClient starts a client's machine, which connects to the test at that address.
func startClient(t *testing.T, kernel, initrd, test, netdev string) (ended <-chan error) {
	return start(t, "client", "-m", "512", "-kernel", kernel, "-initrd", initrd,
		"-append", fmt.Sprintf("console=ttyS0 quiet panic=-1 nfstest.address=%s/24 nfstest.server=%s", clientAddress, test),
		"-netdev", netdev, "-device", "virtio-net-pci,netdev=n,romfile=")
}

// start starts a machine, which ends with the test at the latest. A failed test shows its console.
func start(t *testing.T, name string, args ...string) <-chan error {
	t.Helper()
	console := filepath.Join(t.TempDir(), "console")
	qemu := exec.Command("qemu-system-x86_64", append([]string{"-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "file:" + console,
		"-device", "virtio-rng-pci"}, args...)...)
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	qemu.Stdout, qemu.Stderr = &said, &said
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	gone := make(chan struct{})
	go func() { // ends with the machine, which Cleanup kills
		ended <- qemu.Wait()
		close(gone)
	}()
	t.Cleanup(func() {
		_ = qemu.Process.Kill()
		<-gone
		if t.Failed() {
			b, _ := os.ReadFile(console)
			t.Logf("%s: qemu: %s\nconsole:\n%s", name, said.String(), b)
		}
	})
	return ended
}

// meet waits for the machine's connection, or its end.
func meet(t *testing.T, l net.Listener, ended <-chan error) *vm {
	t.Helper()
	l.(*net.TCPListener).SetDeadline(time.Now().Add(bootTimeout))
	conn, err := accept(l, ended)
	if err != nil {
		t.Fatalf("the machine did not come up: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	v := &vm{t: t, conn: conn, in: bufio.NewScanner(conn)}
	v.in.Buffer(nil, 16<<20)
	return v
}

// accept waits for the machine's connection, or its end.
func accept(l net.Listener, ended <-chan error) (net.Conn, error) {
	type result struct {
		conn net.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() { // ends when the listener's deadline passes or it is closed
		conn, err := l.Accept()
		got <- result{conn, err}
	}()
	select {
	case r := <-got:
		return r.conn, r.err
	case err := <-ended:
		return nil, fmt.Errorf("qemu ended: %w", errors.Join(err, net.ErrClosed))
	}
}

// try sends a request and gives the answer; its Error is the machine's.
func (v *vm) try(q wire.Request) wire.Answer {
	v.t.Helper()
	if err := json.NewEncoder(v.conn).Encode(q); err != nil {
		v.t.Fatal(err)
	}
	v.conn.SetReadDeadline(time.Now().Add(bootTimeout))
	if !v.in.Scan() {
		v.t.Fatalf("the machine hung up after %s %s: %v", q.Op, q.Path, v.in.Err())
	}
	var a wire.Answer
	if err := json.Unmarshal(v.in.Bytes(), &a); err != nil {
		v.t.Fatal(err)
	}
	return a
}

// must is try where an error fails the test.
func (v *vm) must(q wire.Request) wire.Answer {
	v.t.Helper()
	a := v.try(q)
	if a.Error != "" {
		v.t.Fatalf("%s %s: %s", q.Op, q.Path, a.Error)
	}
	return a
}

// mount mounts m on target with NFS version "3" or "4.1".
func (v *vm) mount(m nfs.Mount, version, target string) wire.Answer {
	server := serverAddress
	if m.Server.IsValid() {
		server = m.Server.String()
	}
	opts := fmt.Sprintf("vers=%s,proto=tcp,port=%d,addr=%s", version, m.Port, server)
	if version == "3" {
		opts += fmt.Sprintf(",nolock,mountproto=tcp,mountvers=3,mountport=%d,mountaddr=%s", m.MountPort, server)
		if m.Options != "" {
			opts += "," + m.Options
		}
	} else {
		opts += ",clientaddr=" + clientAddress
	}
	return v.try(wire.Request{Op: wire.Mount, Source: server + ":" + m.Path, Path: target, Options: opts})
}
