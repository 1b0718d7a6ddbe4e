package tftpd

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// datagrams makes a window of packets with payloads of these sizes.
func datagrams(sizes ...int) []Datagram {
	var all []Datagram
	for i, n := range sizes {
		all = append(all, Datagram{{0, opData, 0, byte(i)}, content(n)})
	}
	return all
}

// same is n packets of a size.
func same(n, size int) (all []int) {
	for range n {
		all = append(all, size)
	}
	return all
}

// TestOutbox: packets arrive as they are, in their order, whether the kernel cuts them or not.
func TestOutbox(t *testing.T) {
	for _, refused := range []bool{false, true} {
		for _, sizes := range [][]int{{0}, {512}, {512, 512}, {512, 100}, {512, 0}, same(64, 1428), append(same(63, 1428), 7), {100, 512, 512, 3, 512}, same(20, 9000)} {
			in := rawUDP(t, "127.0.0.1:0")
			_ = in.SetReadBuffer(4 << 20)
			fd, err := connected(Peer{Remote: in.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort(), Local: netip.MustParseAddr("127.0.0.1")})
			if err != nil {
				t.Fatal(err)
			}
			o := outbox{largest: 9004, refused: new(atomic.Bool)}
			o.refused.Store(refused)
			if err := o.send(fd, datagrams(sizes...)); err != nil {
				t.Fatal(err)
			}
			for i, n := range sizes {
				if got, _ := next(t, in); got != fmt.Sprintf("DATA %d %d", i, n) {
					t.Fatalf("refused %v, %v: got %q as packet %d", refused, sizes, got, i)
				}
			}
			if err := unix.Close(fd); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestOutboxRefused: packets that the kernel does not cut, as they do not fit the path, go by themselves.
func TestOutboxRefused(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	ip(t, "link set lo up mtu 1400")
	in := rawUDP(t, "127.0.0.1:0")
	fd, err := connected(Peer{Remote: in.LocalAddr().(interface{ AddrPort() netip.AddrPort }).AddrPort(), Local: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	o := outbox{largest: 9000, refused: new(atomic.Bool)}
	if err := o.send(fd, datagrams(1428, 1428, 1428)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if got, _ := next(t, in); got != fmt.Sprintf("DATA %d 1428", i) {
			t.Fatalf("got %q", got)
		}
	}
	if !o.refused.Load() {
		t.Error("the kernel has cut packets that do not fit")
	}
}

func TestAlike(t *testing.T) {
	for _, c := range []struct {
		sizes []int
		want  int
	}{
		{[]int{512}, 1}, {[]int{512, 512}, 2}, {[]int{512, 100}, 2}, {[]int{512, 100, 512}, 2}, {[]int{100, 512}, 1},
		{same(64, 1428), 45}, {same(64, 512), 64}, {[]int{9000, 9000}, 1}, {same(10, 1464), 10},
	} {
		o := outbox{largest: 1468}
		if got := o.alike(datagrams(c.sizes...)); got != c.want {
			t.Errorf("%v: %d, want %d", c.sizes, got, c.want)
		}
	}
}

// BenchmarkOutbox is what the two ways to send a window of 16 cost, on three kinds of links.
func BenchmarkOutbox(b *testing.B) {
	if os.Getuid() != 0 {
		b.Skip("needs root: makes a network namespace")
	}
	runtime.LockOSThread() // for good: the thread ends with the benchmark, and its namespace with it
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Fatal(err)
	}
	tap := openTap(b, "tap0")
	defer tap.Close()
	go func() { // ends when the tap is closed
		for p := make([]byte, 65536); ; {
			if _, err := tap.Read(p); err != nil {
				return
			}
		}
	}()
	out, err := exec.Command("sh", "-ec", `ip link set lo up; ip link add veth0 type veth peer name veth1; ip link set veth1 up
i=0; for l in veth0 tap0; do i=$((i+1)); ip link set $l up; ip addr add 10.77.$i.1/24 dev $l
ip neigh add 10.77.$i.2 lladdr 02:00:00:00:00:09 dev $l; done`).CombinedOutput()
	if err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	sink := rawUDP(b, "127.0.0.1:0") // full after a while
	port := netip.MustParseAddrPort(sink.LocalAddr().String()).Port()
	for _, link := range []struct{ name, local, remote string }{
		{"loopback", "127.0.0.1", "127.0.0.1"}, {"veth", "10.77.1.1", "10.77.1.2"}, {"tap", "10.77.2.1", "10.77.2.2"},
	} {
		fd, err := connected(Peer{Local: netip.MustParseAddr(link.local), Remote: netip.AddrPortFrom(netip.MustParseAddr(link.remote), port)})
		if err != nil {
			b.Fatal(err)
		}
		defer unix.Close(fd)
		for _, refused := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cut=%v", link.name, !refused), func(b *testing.B) {
				o := outbox{largest: 1468, refused: new(atomic.Bool)}
				o.refused.Store(refused)
				window := datagrams(same(16, 1428)...)
				for b.Loop() {
					if err := o.send(fd, window); err != nil {
						b.Fatal(err)
					}
				}
				if o.refused.Load() != refused {
					b.Error("the kernel refuses to cut")
				}
			})
		}
	}
}

// openTap makes a tap interface in this thread's namespace.
func openTap(b *testing.B, name string) *os.File {
	b.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		b.Fatal(err)
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		b.Fatal(err)
	}
	return os.NewFile(uintptr(fd), name)
}
