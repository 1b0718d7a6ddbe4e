package agent

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFnmatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"pci:v00008086d000015B8sv*sd*bc*sc*i*", "pci:v00008086d000015B8sv00001028sd000006B9bc02sc00i00", true},
		{"pci:v00008086d000015B8sv*sd*bc*sc*i*", "pci:v00008086d000015B9sv00001028sd000006B9bc02sc00i00", false},
		{"pci:v*d*sv*sd*bc01sc08i02*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", false},
		{"virtio:d00000001v*", "virtio:d00000001v00001AF4", true},
		{"usb:v0BDAp8153d*dc*dsc*dp*icFFiscFFip00in*", "usb:v0BDAp8153d3000dc00dsc00dp00icFFiscFFip00in00", true},
		{"dmi:*svnACME*", "dmi:bvnX:bd04/01/2014:svnACME:", true},
		{"usb:v*d0[0-9A-C]*", "usb:v1d0B3", true},
		{"usb:v*d0[!0-9]*", "usb:v1d053", false},
		{"usb:v*d0[^0-9]*", "usb:v1d0a", true},
		{"a[]b", "a[]b", true},
		{"a[bc", "a[bc", true},
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"?", "", false}, {"a*", "a", true}, {"a?c", "a/c", true},
		{"*a*b*c", "xxaxxbxxbxc", true}, {"*a*b*c", "xxaxxbxx", false},
	} {
		if got := fnmatch(tc.pattern, tc.s); got != tc.want {
			t.Errorf("fnmatch(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
}

// Where both know the pattern's syntax, path.Match says the same.
func FuzzFnmatch(f *testing.F) {
	f.Add("pci:v*d[0-9]?", "pci:v1d22")
	f.Add("**a[!x-", "a[")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		got := fnmatch(pattern, s)
		if strings.ContainsAny(pattern, `[]\`) || strings.ContainsAny(s, "/") || !ascii(pattern+s) {
			return
		}
		if want, err := path.Match(pattern, s); err == nil && got != want {
			t.Errorf("fnmatch(%q, %q) = %v, path.Match says %v", pattern, s, got, want)
		}
	})
}

func ascii(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 }

// moduleTree is an index as depmod writes it.
func moduleTree(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, dir, map[string]string{
		"modules.dep": `kernel/virtio.ko:
kernel/virtio_ring.ko: kernel/virtio.ko
kernel/virtio_pci.ko.xz: kernel/virtio_ring.ko kernel/virtio.ko
kernel/failover.ko:
kernel/net_failover.ko: kernel/failover.ko
kernel/virtio-net.ko: kernel/net_failover.ko kernel/failover.ko kernel/virtio_ring.ko kernel/virtio.ko
kernel/ptp.ko:
kernel/mlx.ko: kernel/virtio.ko
kernel/gpu.ko:
kernel/circle.ko:
kernel/raid.ko:
`,
		"modules.alias": `# Aliases extracted from modules themselves.
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias virtio:d00000001v* virtio-net
alias pci:v000015B3d*sv*sd*bc*sc*i* mlx
alias pci:v000015B3d*sv*sd*bc02sc*i* mlx
alias pci:v*d*sv*sd*bc03sc*i* gpu
alias pci:v0000AAAAd*sv*sd*bc*sc*i* raid
alias fs-nfs nfs
`,
		"modules.softdep":  "# Soft dependencies\nsoftdep mlx pre: ptp nothere post: gpu\nsoftdep circle pre: circle\n",
		"kernel/virtio.ko": "", "kernel/virtio_ring.ko": "", "kernel/virtio_pci.ko.xz": "", "kernel/failover.ko": "",
		"kernel/net_failover.ko": "", "kernel/virtio-net.ko": "", "kernel/ptp.ko": "", "kernel/mlx.ko": "", "kernel/circle.ko": "", "kernel/raid.ko": "",
	})
	return dir
}

func TestModuleOrder(t *testing.T) {
	m, err := readModules(moduleTree(t))
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]string{
		"virtio_net": "virtio virtio_ring failover net_failover virtio_net",
		"virtio_pci": "virtio virtio_ring virtio_pci",
		"mlx":        "ptp virtio mlx",
		"circle":     "circle",
		"unknown":    "",
	} {
		var got []string
		for _, file := range m.order(module) {
			got = append(got, moduleName(file))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", module, got, want)
		}
	}
}

func TestModuleMatch(t *testing.T) {
	m, err := readModules(moduleTree(t))
	if err != nil {
		t.Fatal(err)
	}
	for modalias, want := range map[string]string{
		"virtio:d00000001v00001AF4":                             "virtio_net",
		"pci:v000015B3d00001017sv000015B3sd00000001bc02sc00i00": "mlx",
		"pci:v00001234d00001111sv00001AF4sd00001100bc03sc00i00": "gpu",
		"pci:v00009999d00001111sv00001AF4sd00001100bc02sc00i00": "",
		"nobus": "",
	} {
		if got := strings.Join(m.match(modalias), " "); got != want {
			t.Errorf("%s: %q, want %q", modalias, got, want)
		}
	}
}

func TestModuleLoad(t *testing.T) {
	m, err := readModules(moduleTree(t))
	if err != nil {
		t.Fatal(err)
	}
	bad := errors.New("exec format error")
	k := &fakeKernel{fail: map[string][]error{"module mlx": {bad}}}
	for _, name := range []string{"virtio-net", "virtio_pci", "virtio_net", "gpu", "unknown"} {
		if err := m.load(k, name); err != nil { // gpu is in the index but not in the initrd
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 { // a failure is remembered, and not tried again
		if err := m.load(k, "mlx"); !errors.Is(err, bad) {
			t.Errorf("mlx: %v", err)
		}
	}
	want := "module virtio|module virtio_ring|module failover|module net_failover|module virtio_net|module virtio_pci|module ptp|module mlx"
	if got := strings.ReplaceAll(k.calls("module"), "\n", "|"); got != want {
		t.Errorf("loaded %s\nwant %s", got, want)
	}
	if _, err := readModules(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no index: %v", err)
	}
}

// slowModules take their time.
type slowModules struct{ fakeKernel }

func (k *slowModules) LoadModule(file string) error {
	time.Sleep(time.Second)
	return k.fakeKernel.LoadModule(file)
}

// Who needs a module that somebody else is inserting waits for it; none goes in twice.
func TestModulesTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := readModules(moduleTree(t))
		if err != nil {
			t.Fatal(err)
		}
		k, start := &slowModules{}, time.Now()
		var wg sync.WaitGroup
		for _, name := range []string{"virtio_net", "virtio_pci", "virtio_net"} {
			wg.Go(func() {
				if err := m.load(k, name); err != nil {
					t.Error(err)
				}
				if !m.known(name) || !strings.Contains(k.calls("module"), "module "+name) {
					t.Errorf("%s is not there when its load is over", name)
				}
			})
		}
		wg.Wait()
		if n := strings.Count(k.calls("module"), "module"); n != 6 || time.Since(start) != 5*time.Second {
			t.Errorf("after %v: %q; virtio_pci goes in beside net_failover's", time.Since(start), k.calls("module"))
		}
	})
}

// Loading a bus driver brings the device that needs the next driver, and network controllers come first.
func TestLoadDrivers(t *testing.T) {
	root := t.TempDir()
	write(t, root, map[string]string{
		"sys/devices/pci0/0/modalias": "pci:v00001234d0sv0sd0bc03sc00i00\n", "sys/devices/pci0/0/class": "0x030000\n",
		"sys/devices/pci0/1/modalias": "pci:v00001AF4d1000sv0sd0bc02sc00i00\n", "sys/devices/pci0/1/class": "0x020000\n",
		"sys/devices/pci0/2/modalias": "pci:v000015B3d1000sv0sd0bc02sc00i00\n", "sys/devices/pci0/2/class": "0x020000\n",
		"sys/devices/pci0/2/driver":   "-> ../../../bus/pci/drivers/mlx",
		"sys/devices/pci0/3/modalias": "pci:v00009999d1000sv0sd0bc02sc00i00\n", "sys/devices/pci0/3/class": "0x020000\n",
		"sys/devices/pci0/4/modalias": "pci:v0000AAAAd1000sv0sd0bc01sc00i00\n", "sys/devices/pci0/4/class": "0x010000\n",
		"sys/bus/pci/devices/0": "-> ../../../devices/pci0/0", "sys/bus/pci/devices/1": "-> ../../../devices/pci0/1",
		"sys/bus/pci/devices/2": "-> ../../../devices/pci0/2", "sys/bus/pci/devices/3": "-> ../../../devices/pci0/3",
		"sys/bus/pci/devices/4": "-> ../../../devices/pci0/4",
	})
	k := &fakeKernel{}
	k.onLoad = func(name string) {
		if name == "virtio_pci" {
			write(t, root, map[string]string{
				"sys/devices/pci0/1/virtio0/modalias": "virtio:d00000001v00001AF4\n",
				"sys/bus/virtio/devices/virtio0":      "-> ../../../devices/pci0/1/virtio0",
			})
		}
	}
	m, err := readModules(moduleTree(t))
	if err != nil {
		t.Fatal(err)
	}
	a, scr := newAgent(root, k, nil)
	a.mods, a.tried, a.params.MAC = m, map[string]bool{}, "52:54:00:aa:00:01"
	a.loadDrivers(true)
	got := strings.Split(k.calls("module"), "\n")
	want := []string{"module virtio", "module virtio_ring", "module virtio_pci", "module failover", "module net_failover", "module virtio_net"}
	if !slices.Equal(got, want) {
		t.Errorf("loaded %q, want %q (a device with a driver needs none)", got, want)
	}
	a.loadDrivers(false)
	if got := k.calls("module raid"); got != "module raid" {
		t.Errorf("the rest is %q", got)
	}
	wantWhy := "1 was refused by its driver virtio_pci; the kernel's lines above say why, often missing firmware (pci:v00001AF4d1000sv0sd0bc02sc00i00); " +
		"3 has no driver in this image's initrd (pci:v00009999d1000sv0sd0bc02sc00i00); " +
		"virtio0 was refused by its driver virtio_net; the kernel's lines above say why, often missing firmware (virtio:d00000001v00001AF4)"
	if why := a.whyNoNIC(nics(root + "/sys")); why != wantWhy {
		t.Errorf("why there is no NIC: %s\nwant %s", why, wantWhy)
	}
	if scr.String() != "" {
		t.Errorf("the screen says %s", scr)
	}
}
