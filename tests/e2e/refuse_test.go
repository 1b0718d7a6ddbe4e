package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"muster/tests/rack"
)

// TestWrongConfig: serve and check name the file, the line and what is wrong, and do nothing.
func TestWrongConfig(t *testing.T) {
	s := newBare(t, nil)
	conf := filepath.Join(s.dir, "muster.yaml")
	for _, tt := range []struct {
		name string
		edit func(string) string
		want []string
	}{
		{"unknown key", func(y string) string { return y + "tftp: {listen: ':69'}\n" }, []string{conf + ":8: tftp: unknown key", `"tftpd"`}},
		{"wrong value", func(y string) string { return strings.Replace(y, "10.77.0.0/24", "10.77.0.0/33", 1) }, []string{conf + ":6:", "10.77.0.0/33"}},
		{"not YAML", func(y string) string { return y + "}\n" }, []string{conf + ":7: not YAML"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			s.configure(tt.edit)
			s.refused(nil, []string{"serve"}, tt.want...)
			s.refused(nil, []string{"check"}, tt.want...)
		})
	}
	t.Run("no file", func(t *testing.T) {
		s := s.in(t)
		if err := os.Remove(conf); err != nil {
			t.Fatal(err)
		}
		s.refused(nil, []string{"serve"}, conf, "muster setup")
	})
	if left, err := os.ReadDir(filepath.Join(s.dir, "data")); err != nil || len(left) > 0 {
		t.Errorf("a server with a wrong configuration wrote into its data directory: %v %v", left, err)
	}
}

// in is the same site for a subtest.
func (s *site) in(t *testing.T) *site {
	return &site{t: t, rack: s.rack, dir: s.dir, socket: s.socket, client: s.client, serve: s.serve, exited: s.exited}
}

// TestPortInUse occupies each port in turn: the server says which, ends, and leaves nothing.
func TestPortInUse(t *testing.T) {
	s := newBare(t, nil)
	for _, tt := range []struct {
		network, addr string
		want          []string
	}{
		{"udp4", ":67", []string{"dhcpd", "UDP port 67 on interface br0 is in use"}},
		{"udp4", ":69", []string{"tftpd", ":69", "in use", "another TFTP server runs here"}},
		{"tcp4", ":8080", []string{"httpboot", ":8080", "in use", "httpboot.listen"}},
		{"tcp4", "127.0.0.1:8081", []string{"api", "127.0.0.1:8081", "in use", "api.listen"}},
		{"tcp4", ":2049", []string{"nfs", "2049", "another NFS server runs here", "images.nfs.server"}},
	} {
		t.Run(tt.network+tt.addr, func(t *testing.T) {
			s := s.in(t)
			var c interface{ Close() error }
			var err error
			if strings.HasPrefix(tt.network, "udp") {
				c, err = s.rack.ListenPacket(t.Context(), tt.network, tt.addr)
			} else {
				c, err = s.rack.Listen(t.Context(), tt.network, tt.addr)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			s.refused(nil, []string{"serve"}, tt.want...)
		})
	}
	// And with all of them free it starts: nothing of the failures is in the way.
	s.start()
	s.serves(machineMAC(1))
}

// TestSecondServer starts a second server beside one that serves: it says what they cannot share, and the
// first goes on.
func TestSecondServer(t *testing.T) {
	s := newBare(t, nil)
	s.start()
	// Another segment, and other ports.
	s.run("ip", "link", "add", "br1", "type", "bridge")
	s.run("ip", "addr", "add", "10.78.0.1/24", "dev", "br1")
	s.run("ip", "link", "set", "br1", "up")
	other := strings.NewReplacer("br0", "br1", "10.77.0", "10.78.0").Replace(configYAML("DATA", "SOCKET", ""))
	other += "tftpd: {listen: ':1069'}\nhttpboot: {listen: ':1080', secure: ':1443'}\nimages: {nfs: {port: 3049, mountport: 30048}}\n"
	apart := filepath.Join(s.dir, "apart")
	for _, tt := range []struct {
		name, data, api string
		want            []string
	}{
		{"data directory", filepath.Join(s.dir, "data"), "{socket: " + apart + ".sock, listen: ''}", []string{"muster.db is in use by another process", "is another muster running?"}},
		{"socket", apart, "{socket: " + s.socket + ", listen: ''}", []string{"api", s.socket, "answers"}},
		{"API port", apart, "{socket: " + apart + ".sock}", []string{"api", "127.0.0.1:8081", "in use"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := s.in(t)
			s.configure(func(string) string {
				return strings.NewReplacer("DATA", tt.data, "{socket: SOCKET}", tt.api).Replace(other)
			})
			before := s.processes("muster", "ganesha.nfsd", "rpcbind")
			s.refused(nil, []string{"serve"}, tt.want...)
			if after := s.processes("muster", "ganesha.nfsd", "rpcbind"); fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("processes are %v, were %v", after, before)
			}
			if _, err := os.Stat(apart + ".sock"); err == nil {
				t.Error("it left its socket")
			}
			if _, err := s.client.Version(t.Context()); err != nil {
				t.Errorf("the first server: %v", err)
			}
			s.serves(machineMAC(1))
		})
	}
}

// TestMissingTools: what is not installed is named with its Debian package.
func TestMissingTools(t *testing.T) {
	s := newBare(t, nil)
	nowhere := []string{"PATH=/nowhere"}
	t.Run("ganesha", func(t *testing.T) {
		s.in(t).refused(nowhere, []string{"serve"}, "nfs-ganesha is not installed", "apt-get install nfs-ganesha")
	})
	t.Run("mmdebstrap", func(t *testing.T) {
		s.in(t).refused(nowhere, []string{"image", "build", "web", "--local"}, "mmdebstrap is not installed", "apt-get install mmdebstrap")
	})
	t.Run("iPXE", func(t *testing.T) {
		s := s.in(t)
		s.configure(func(y string) string { return y + "tftpd: {ipxe: /nowhere}\n" })
		s.refused(nil, []string{"serve"}, "iPXE is missing", "/nowhere/undionly.kpxe", "package ipxe", "tftpd.ipxe")
	})
}

// TestNoRoot runs the server and a build as nobody.
func TestNoRoot(t *testing.T) {
	s := newBare(t, nil)
	// What TempDir makes only root may enter.
	for _, dir := range []string{work.dir, work.bin, filepath.Dir(s.dir), s.dir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"serve"}, "muster serve needs root"},
		{[]string{"image", "build", "web", "--local"}, "building needs root"},
		{[]string{"node", "list"}, "run as root or as a member of its group"},
	} {
		if tt.args[0] == "node" {
			s.start()
		}
		cmd := exec.Command(filepath.Join(work.bin, "muster"), append([]string{"--config", filepath.Join(s.dir, "muster.yaml")}, tt.args...)...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		refuses(t, cmd, tt.want)
	}
}

// TestInterfaceCannotServe: an interface that is missing, down or without an address.
func TestInterfaceCannotServe(t *testing.T) {
	s := newBare(t, nil)
	t.Run("missing", func(t *testing.T) {
		s := s.in(t)
		s.configure(func(y string) string { return strings.Replace(y, "[br0]", "[eth7]", 1) })
		s.refused(nil, []string{"serve"}, `no interface "eth7"`)
	})
	s.configure(nil)
	t.Run("down", func(t *testing.T) {
		s := s.in(t)
		s.run("ip", "link", "set", rack.BridgeName, "down")
		s.refused(nil, []string{"serve"}, "interface br0 is down", "ip link set br0 up")
		s.run("ip", "link", "set", rack.BridgeName, "up")
	})
	t.Run("no address", func(t *testing.T) {
		s := s.in(t)
		s.run("ip", "addr", "flush", "dev", rack.BridgeName)
		s.refused(nil, []string{"serve"}, "br0", "IPv4 address", "ip addr add")
	})
	t.Run("wrong subnet", func(t *testing.T) {
		s := s.in(t)
		s.run("ip", "addr", "add", "192.0.2.1/24", "dev", rack.BridgeName)
		s.start()
		if !strings.Contains(s.log.String(), "no address of the interface is in a configured subnet") {
			t.Errorf("no warning:\n%s", s.log.String())
		}
		s.stop()
	})
}
