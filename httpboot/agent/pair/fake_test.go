package pair

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"muster/httpboot/agent"
)

// fakeMachine is a System and a Network: mounts are lines of its /proc/mounts, programs are functions.
type fakeMachine struct {
	t    testing.TB
	root string

	mu       sync.Mutex
	mounts   []string // source target type options
	ran      []string
	programs map[string]func(args []string) (string, error)
	busy     map[string]int // by target: how often an unmount fails
	broken   map[string]error
	addrs    map[netip.Addr]string
	told     []netip.Addr
	pids     int
	exitLate bool // helpers ignore SIGTERM
}

var testConfig = Config{
	Pool: "storage", Slot: "storage-01", Number: 1, Address: netip.MustParseAddr("10.77.0.10"),
	Peer: "storage-02", PeerAddress: netip.MustParseAddr("10.77.0.11"), Floating: netip.MustParsePrefix("10.77.0.9/24"),
}

func newFakeMachine(t testing.TB) *fakeMachine {
	f := &fakeMachine{
		t: t, root: t.TempDir(), programs: map[string]func([]string) (string, error){},
		busy: map[string]int{}, broken: map[string]error{}, addrs: map[netip.Addr]string{testConfig.Address: "eth0"}, pids: 100,
	}
	for _, dir := range []string{"/proc/fs/nfsd", "/sys/block", "/dev", RunDir, Volume, "/etc/exports.d", "/var/lib/nfs"} {
		f.dir(dir)
	}
	for _, file := range []string{"versions", "nfsv4leasetime", "nfsv4gracetime", "portlist", "threads"} {
		f.file(nfsdDir+"/"+file, "")
	}
	f.file("/proc/mounts", "")
	for _, c := range caches {
		f.file("/proc/net/rpc/"+c+"/flush", "0\n")
	}
	return f
}

func (f *fakeMachine) machine() *machine { return &machine{f.root, f, f} }

func (f *fakeMachine) dir(path string) {
	f.t.Helper()
	if err := os.MkdirAll(f.root+path, 0o755); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeMachine) file(path, content string) {
	f.t.Helper()
	f.dir(filepath.Dir(path))
	if err := os.WriteFile(f.root+path, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeMachine) read(path string) string {
	b, _ := os.ReadFile(f.root + path)
	return string(b)
}

// disk adds a disk to /sys and /dev.
func (f *fakeMachine) disk(name, serial string, size int64) {
	f.t.Helper()
	dir := "/sys/block/" + name
	f.file(dir+"/size", fmt.Sprint(size/512))
	f.file(dir+"/ro", "0\n")
	f.file(dir+"/removable", "0\n")
	if serial != "" {
		f.file(dir+"/serial", serial)
	}
	f.dir(dir + "/holders")
	dev, err := os.Create(f.root + "/dev/" + name)
	if err != nil {
		f.t.Fatal(err)
	}
	defer dev.Close()
	if err := dev.Truncate(size); err != nil {
		f.t.Fatal(err)
	}
}

// meta writes DRBD's superblock as create-md does.
func (f *fakeMachine) meta(name string, uuid uint64, magic uint32) {
	f.t.Helper()
	dev, err := os.OpenFile(f.root+"/dev/"+name, os.O_RDWR, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer dev.Close()
	st, err := dev.Stat()
	if err != nil {
		f.t.Fatal(err)
	}
	b := make([]byte, metaSize)
	binary.BigEndian.PutUint64(b[metaUUIDAt:], uuid)
	binary.BigEndian.PutUint32(b[metaMagicAt:], magic)
	if _, err := dev.WriteAt(b, st.Size()/metaSize*metaSize-metaSize); err != nil {
		f.t.Fatal(err)
	}
}

// poke writes a byte to a disk.
func (f *fakeMachine) poke(name string, at int64) {
	f.t.Helper()
	dev, err := os.OpenFile(f.root+"/dev/"+name, os.O_RDWR, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer dev.Close()
	if _, err := dev.WriteAt([]byte{1}, at); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeMachine) log(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ran = append(f.ran, strings.ReplaceAll(fmt.Sprintf(format, args...), f.root, ""))
}

// did gives what was run since the last call.
func (f *fakeMachine) did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.ran
	f.ran = nil
	return out
}

func (f *fakeMachine) Run(ctx context.Context, env []string, name string, args ...string) (string, error) {
	f.log("%s", strings.Join(append([]string{name}, args...), " "))
	f.mu.Lock()
	do := f.programs[filepath.Base(name)]
	f.mu.Unlock()
	if do == nil {
		return "", nil
	}
	out, err := do(args)
	if err != nil {
		if _, ok := errors.AsType[*ExitError](err); !ok {
			err = &ExitError{Command: name, Code: 1, Output: err.Error()}
		}
	}
	return out, err
}

func (f *fakeMachine) program(name string, do func(args []string) (string, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.programs[name] = do
}

func (f *fakeMachine) Daemon(ctx context.Context, name string, args ...string) error {
	f.log("%s", strings.Join(append([]string{name}, args...), " "))
	if err := f.broken[name]; err != nil {
		return err
	}
	f.pids++
	f.file(fmt.Sprintf("/proc/%d/comm", f.pids), filepath.Base(name)+"\n")
	return nil
}

func (f *fakeMachine) Kill(pid int, sig unix.Signal) error {
	if sig == unix.SIGTERM && f.exitLate {
		return nil
	}
	return os.RemoveAll(fmt.Sprintf("%s/proc/%d", f.root, pid))
}

func (f *fakeMachine) Mount(source, target, fstype string, flags uintptr, data string) error {
	f.log("mount %s %s", source, target)
	if err := f.broken[strings.TrimPrefix(target, f.root)]; err != nil {
		return err
	}
	if _, err := os.Stat(target); err != nil {
		return err
	}
	f.addMount(source + " " + target + " " + fstype + " rw")
	return nil
}

func (f *fakeMachine) MountFile(file, target string) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	return f.Mount("loop:"+strings.TrimPrefix(file, f.root), target, "squashfs", 0, "")
}

func (f *fakeMachine) Bind(dir *os.File, target string) error {
	return f.Mount("bind:"+strings.TrimPrefix(dir.Name(), f.root), target, "ext4", 0, "")
}

func (f *fakeMachine) addMount(line string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The volume is what DRBD has, whatever the root.
	f.mounts = append(f.mounts, strings.Replace(line, f.root+Device, Device, 1))
	f.writeMounts()
}

// writeMounts needs mu.
func (f *fakeMachine) writeMounts() {
	if err := os.WriteFile(f.root+"/proc/mounts", []byte(strings.Join(f.mounts, "\n")+"\n"), 0o644); err != nil {
		f.t.Error(err)
	}
}

func (f *fakeMachine) Unmount(target string) error {
	f.log("unmount %s", target)
	f.mu.Lock()
	defer f.mu.Unlock()
	short := strings.TrimPrefix(target, f.root)
	if f.busy[short] > 0 {
		f.busy[short]--
		return &os.PathError{Op: "unmount", Path: short, Err: unix.EBUSY}
	}
	for i, line := range slices.Backward(f.mounts) {
		at := strings.Fields(line)[1]
		if strings.HasPrefix(at, target+"/") {
			return &os.PathError{Op: "unmount", Path: short, Err: unix.EBUSY}
		}
		if at == target {
			f.mounts = slices.Delete(f.mounts, i, i+1)
			f.writeMounts()
			return nil
		}
	}
	return &os.PathError{Op: "unmount", Path: short, Err: unix.EINVAL}
}

func (f *fakeMachine) Capacity(string) (total, used int64, err error) { return 1 << 30, 1 << 20, nil }

func (f *fakeMachine) Exclusive(device string) error {
	return f.broken[strings.TrimPrefix(device, f.root)]
}

func (f *fakeMachine) Socket(port int) (*os.File, error) { return os.Open(os.DevNull) }

func (f *fakeMachine) Find(addr netip.Addr) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addrs[addr], f.broken["net"]
}

func (f *fakeMachine) AddAddress(nic string, addr netip.Prefix) error {
	f.log("address + %v %s", addr, nic)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.addrs[addr.Addr()] = nic
	return nil
}

func (f *fakeMachine) RemoveAddress(nic string, addr netip.Prefix) error {
	f.log("address - %v %s", addr, nic)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.addrs, addr.Addr())
	return nil
}

func (f *fakeMachine) Announce(nic string, addr netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = append(f.told, addr)
	return nil
}

// fakeDRBD is DRBD on one machine: its state is /proc/drbd, its program drbdadm.
type fakeDRBD struct {
	f    *fakeMachine
	uuid uint64
	// up is the state after drbdadm up.
	up drbd
	drbd
}

func newFakeDRBD(f *fakeMachine) *fakeDRBD {
	d := &fakeDRBD{f: f, uuid: 0x1111}
	f.file(Device, "")
	f.program("drbdadm", d.adm)
	return d
}

func (d *fakeDRBD) set(s drbd) {
	d.drbd = s
	text := "version: 8.4.11 (api:1/proto:86-101)\n"
	if s.connection != "" {
		text += fmt.Sprintf(" 0: cs:%s ro:%s/%s ds:%s/%s C r-----\n    ns:0 nr:0 dw:0 dr:0 al:0 bm:0 lo:0 pe:0 ua:0 ap:0 ep:1 wo:f oos:%d\n",
			s.connection, s.role, s.peerRole, s.disk, s.peerDisk, s.outOfSync)
	}
	d.f.file("/proc/drbd", text)
}

func (d *fakeDRBD) adm(args []string) (string, error) {
	s := d.drbd
	switch strings.Join(args, " ") {
	case "create-md --force pair":
		link, err := os.Readlink(d.f.root + DiskLink)
		if err != nil {
			return "", err
		}
		d.f.meta(filepath.Base(link), d.uuid, metaMagic)
		return "", nil
	case "up pair":
		s = d.up
	case "down pair":
		s = drbd{}
	case "outdate pair":
		d.up.disk = "Outdated"
		return "", nil
	case "-- --clear-bitmap new-current-uuid pair":
		s.disk, s.peerDisk = "UpToDate", "UpToDate"
	case "primary pair", "primary --force pair":
		s.role = "Primary"
		if len(args) == 3 {
			s.disk = "UpToDate"
		}
	case "secondary pair":
		s.role = "Secondary"
	case "connect pair":
		s.connection = "WFConnection"
	case "disconnect pair":
		s.connection = "StandAlone"
	case "-- --discard-my-data connect pair":
		s.connection, s.disk = "SyncTarget", "Inconsistent"
	case "verify pair":
		s.connection = "VerifyS"
	default:
		return "", fmt.Errorf("drbdadm does not know %q", args)
	}
	d.set(s)
	return "", nil
}

var (
	blankNew  = drbd{connection: "Connected", role: "Secondary", peerRole: "Secondary", disk: "Inconsistent", peerDisk: "Inconsistent"}
	inSync    = drbd{connection: "Connected", role: "Secondary", peerRole: "Secondary", disk: "UpToDate", peerDisk: "UpToDate"}
	loneState = drbd{connection: "WFConnection", role: "Secondary", peerRole: "Unknown", disk: "Consistent", peerDisk: "DUnknown"}
)

// fakeServer is the boot server: it gives the orders that it has.
type fakeServer struct {
	mu      sync.Mutex
	orders  Orders
	reports []Report
	ops     []string
	fails   map[string]error
	times   int // how often those fail; 0 for always
	vote    Vote
}

func (s *fakeServer) Call(ctx context.Context, timeout time.Duration, op string, in, out any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if op != OpReport {
		s.ops = append(s.ops, op)
	}
	if err := s.fails[op]; err != nil {
		if s.times--; s.times == 0 {
			delete(s.fails, op)
		}
		return err
	}
	switch op {
	case OpReport:
		s.reports = append(s.reports, in.(Report))
		b, err := json.Marshal(s.orders)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, out)
	case OpVote:
		*out.(*Vote) = s.vote
	}
	return nil
}

func (s *fakeServer) last() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports[len(s.reports)-1]
}

// half is a daemon on a fake machine, which the test moves by steps.
type half struct {
	*Daemon
	f      *fakeMachine
	drbd   *fakeDRBD
	server *fakeServer
	said   *bytes.Buffer
}

func newHalf(t testing.TB) *half {
	f := newFakeMachine(t)
	h := &half{f: f, drbd: newFakeDRBD(f), server: &fakeServer{fails: map[string]error{}}, said: &bytes.Buffer{}}
	h.drbd.up = blankNew
	h.drbd.set(drbd{})
	f.program("blkid", func([]string) (string, error) { return "", &ExitError{Command: "blkid", Code: 2} })
	h.server.orders.Rule = Rule{Serial: "DATA-*"}
	h.restart()
	return h
}

// restart makes the daemon anew, as systemd does.
func (h *half) restart() {
	h.Daemon = &Daemon{
		Config: testConfig, Root: h.f.root, System: h.f, Network: h.f, Server: h.server,
		Store: brokenStore{}, Console: agent.NewConsole(h.said, false),
	}
	h.prepare()
	h.began = h.began.Add(-diskTime)
}

type brokenStore struct{}

func (brokenStore) Fetch(context.Context, string, agent.RAMRoot, *os.File) error {
	return errors.New("there is no image")
}

// step is a turn of the daemon: it looks, reports and follows.
func (h *half) step() Report {
	var jobs sync.WaitGroup
	h.turn(context.Background(), make(chan struct{}, 1), &jobs)
	jobs.Wait()
	h.askCluster(context.Background())
	return h.look(context.Background())
}

// settle steps until nothing is done any more.
func (h *half) settle() Report {
	for range 20 {
		before := len(h.f.ran)
		r := h.step()
		if len(h.f.ran) == before {
			return r
		}
	}
	return h.look(context.Background())
}
