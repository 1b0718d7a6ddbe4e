package dhcpd

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestListenErrors(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	newMachine(t, "good0", "10.77.0.1/24")
	newMachine(t, "bare0", "")
	newMachine(t, "down0", "10.77.0.2/24")
	run(t, "ip", "link", "set", "down0", "down")
	s := &Server{Subnets: []Subnet{rackNet}}
	for _, tt := range []struct {
		name       string
		interfaces []string
		want       []string
		is         error
	}{
		{"none", nil, []string{"no interface"}, fs.ErrInvalid},
		{"missing", []string{"nosuch0"}, []string{`interface "nosuch0" does not exist`, "good0"}, fs.ErrNotExist},
		{"down", []string{"down0"}, []string{"interface down0 is down", "ip link set down0 up"}, nil},
		{"no address", []string{"bare0"}, []string{"interface bare0 has no IPv4 address"}, nil},
		{"not Ethernet", []string{"lo"}, []string{"interface lo is not Ethernet"}, nil},
		{"every fault", []string{"good0", "nosuch0", "down0"}, []string{"nosuch0", "down0"}, fs.ErrNotExist},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Listen(tt.interfaces...)
			check(t, err, tt.want, tt.is)
		})
	}
	// A failed Listen leaves nothing open, or this one would fail.
	conn, err := s.Listen("good0")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Listen("good0")
	check(t, err, []string{"port 67 on interface good0 is in use"}, syscall.EADDRINUSE)
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	if conn, err = s.Listen("good0"); err != nil {
		t.Fatalf("after Close: %v", err)
	}
	conn.Close()
	// The boot server's port is needed beside another DHCP server only.
	busy, err := net.ListenPacket("udp4", "0.0.0.0:4011")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	var said bytes.Buffer
	s.Log = slog.New(slog.NewTextHandler(&said, nil))
	if conn, err = s.Listen("good0"); err != nil {
		t.Fatalf("it gives addresses, and another program has port 4011: %v", err)
	}
	if !strings.Contains(said.String(), "port 4011 on interface good0 is in use") {
		t.Errorf("it says %q", &said)
	}
	conn.Close()
	s.Proxy = true
	_, err = s.Listen("good0")
	check(t, err, []string{"port 4011 on interface good0 is in use"}, syscall.EADDRINUSE)
	s.Subnets = nil
	_, err = s.Listen("good0")
	check(t, err, []string{"no subnet"}, fs.ErrInvalid)
}

func check(t *testing.T, err error, want []string, is error) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not say %q", err, w)
		}
	}
	if is != nil && !errors.Is(err, is) {
		t.Errorf("error %q is no %v", err, is)
	}
}

func TestExplain(t *testing.T) {
	err := explain("eth1", 67, os.NewSyscallError("bind", syscall.EACCES))
	check(t, err, []string{"interface eth1", "run as root"}, fs.ErrPermission)
	err = explain("eth1", 67, os.NewSyscallError("socket", syscall.ENODEV))
	check(t, err, []string{"interface eth1", "no such device"}, syscall.ENODEV)
}

func TestSubnetFaults(t *testing.T) {
	p := netip.MustParsePrefix
	for _, tt := range []struct {
		name string
		in   []Subnet
		want []string
	}{
		{"good", []Subnet{rackNet, remoteNet}, nil},
		{"none", nil, []string{"no subnet"}},
		{"IPv6", []Subnet{{Prefix: p("fd00::/64")}}, []string{"want an IPv4 network"}},
		{"too small", []Subnet{{Prefix: p("10.0.0.0/31")}}, []string{"at least two machines"}},
		{"host bits", []Subnet{{Prefix: p("10.0.0.1/24")}}, []string{"did you mean 10.0.0.0/24?"}},
		{"range outside", []Subnet{{Prefix: p("10.0.0.0/24"), Range: Range{ip("10.0.1.1"), ip("10.0.1.2")}}}, []string{"10.0.1.1-10.0.1.2 is not inside"}},
		{"range backwards", []Subnet{{Prefix: p("10.0.0.0/24"), Range: Range{ip("10.0.0.9"), ip("10.0.0.2")}}}, []string{"ends before it starts"}},
		{"overlap", []Subnet{rackNet, {Prefix: p("10.77.0.0/16")}}, []string{"10.77.0.0/24 and 10.77.0.0/16 overlap"}},
		{"several", []Subnet{{Prefix: p("10.0.0.0/24"), Router: ip("10.1.0.1"), DNS: []netip.Addr{ip("fd00::1")}, Lease: 1}},
			[]string{"router 10.1.0.1", "DNS server fd00::1", "too short"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := checkSubnets(tt.in)
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			check(t, err, tt.want, fs.ErrInvalid)
		})
	}
}
