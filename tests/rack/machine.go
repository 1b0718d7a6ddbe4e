package rack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"muster/roles"
)

// MachineSpec says what a machine is like. Only Firmware must be given.
type MachineSpec struct {
	// Name is unique in the rack, letters, digits and hyphens; empty means m1, m2, …
	Name string `json:"name"`
	// MAC is unique in the rack; zero means a generated one, 52:54:00:4d:….
	MAC roles.MAC `json:"mac"`
	// Firmware is what runs at power-on.
	Firmware Firmware `json:"firmware"`
	// NIC is the model of its network card; empty means Virtio.
	NIC NIC `json:"nic,omitempty"`
	// MemoryMiB is the memory in MiB; 0 means 768.
	MemoryMiB int `json:"memoryMiB,omitempty"`
	// CPUs is the number of processors; 0 means 2.
	CPUs int `json:"cpus,omitempty"`
	// UUID and Serial are the SMBIOS system's (type 1); empty means derived from MAC: the same in every run.
	UUID   string `json:"uuid,omitempty"`
	Serial string `json:"serial,omitempty"`
	// Manufacturer and Product likewise; empty means "Muster" and "Virtual rack machine".
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
	// Disks are its data disks; none means that it is diskless. No firmware boots from one while the network
	// has something to boot.
	Disks []Disk `json:"disks,omitempty"`
}

// Machine is one machine of a rack.
type Machine struct {
	rack    *Rack
	spec    MachineSpec
	tap     string
	dir     string
	console *console

	// mu guards run, disks and broken, and is held while the machine is being switched.
	mu    sync.Mutex
	run   *run
	disks []Disk
	// broken says that it doesn't come on: see Fail.
	broken bool
}

// run is one time that a machine is on: a QEMU process.
type run struct {
	cmd *exec.Cmd
	qmp *qmp
	// ended is closed when the process has gone and the console has all it wrote; err may then be read.
	ended chan struct{}
	err   error
}

var machineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,62}$`)

// Add puts a machine into the rack, switched off. Its error wraps fs.ErrExist when the name or the MAC is
// taken, fs.ErrInvalid when the spec is wrong, fs.ErrNotExist when the firmware is not installed.
func (r *Rack) Add(spec MachineSpec) (*Machine, error) {
	if spec.NIC == "" {
		spec.NIC = Virtio
	}
	if err := errors.Join(spec.Firmware.check(), spec.NIC.check(spec.Firmware)); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done {
		return nil, fmt.Errorf("rack: closed: %w", fs.ErrClosed)
	}
	number := len(r.machines) + 1
	r.defaults(&spec, number)
	if !machineName.MatchString(spec.Name) {
		return nil, fmt.Errorf("rack: machine name %q (want letters, digits and hyphens): %w", spec.Name, fs.ErrInvalid)
	}
	if spec.MAC[0]&1 != 0 {
		return nil, fmt.Errorf("rack: %s is a group address, no machine's: %w", spec.MAC, fs.ErrInvalid)
	}
	for _, m := range r.machines {
		if m.spec.Name == spec.Name || m.spec.MAC == spec.MAC {
			return nil, fmt.Errorf("rack: machine %s with MAC %s: %w", m.spec.Name, m.spec.MAC, fs.ErrExist)
		}
	}
	spec.Disks = slices.Clone(spec.Disks)
	for i := range spec.Disks {
		if err := spec.Disks[i].check(spec, i); err != nil {
			return nil, err
		}
	}
	disks := spec.Disks
	spec.Disks = nil // of which Machine keeps its own account
	m := &Machine{rack: r, spec: spec, disks: disks, tap: fmt.Sprintf("tap%d", number), dir: filepath.Join(r.dir, spec.Name)}
	if err := m.install(); err != nil {
		return nil, fmt.Errorf("rack: add %s: %w", spec.Name, err)
	}
	r.machines = append(r.machines, m)
	return m, nil
}

// defaults fills what is zero in spec. The caller holds r.mu.
func (r *Rack) defaults(spec *MachineSpec, number int) {
	for spec.MAC.IsZero() {
		r.nextMAC++
		mac := roles.MAC{0x52, 0x54, 0x00, 0x4d, byte(r.nextMAC >> 8), byte(r.nextMAC)}
		taken := false
		for _, m := range r.machines {
			taken = taken || m.spec.MAC == mac
		}
		if !taken {
			spec.MAC = mac
		}
	}
	sum := sha256.Sum256([]byte("muster rack " + spec.MAC.String()))
	// RFC 9562, section 5.8: version 8, a UUID of our own making.
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	set := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	set(&spec.Name, fmt.Sprintf("m%d", number))
	set(&spec.UUID, fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]))
	set(&spec.Serial, "VR-"+strings.ToUpper(strings.ReplaceAll(spec.MAC.String(), ":", "")))
	set(&spec.Manufacturer, "Muster")
	set(&spec.Product, "Virtual rack machine")
	if spec.MemoryMiB == 0 {
		spec.MemoryMiB = 768
	}
	if spec.CPUs == 0 {
		spec.CPUs = 2
	}
}

// install makes the machine's files: firmware, disks and console. When it fails none is left.
func (m *Machine) install() (err error) {
	if err := os.Mkdir(m.dir, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(m.dir)
		}
	}()
	for i, d := range m.disks {
		if err := d.make(m.Disk(i)); err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
	}
	if err := m.spec.Firmware.install(m.file("sercon"), m.file("nvram.fd")); err != nil {
		return err
	}
	m.console, err = newConsole(m.file("console.log"))
	return err
}

func (m *Machine) file(name string) string { return filepath.Join(m.dir, name) }

// Spec is what the machine is like now, with every default filled in.
func (m *Machine) Spec() MachineSpec {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.spec
	s.Disks = slices.Clone(m.disks)
	return s
}

// Name is the machine's name in the rack.
func (m *Machine) Name() string { return m.spec.Name }

// MAC is the address of its network card.
func (m *Machine) MAC() roles.MAC { return m.spec.MAC }

// On switches the machine on. It does nothing when the machine is on, or broken (see Fail).
func (m *Machine) On() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.running() || m.broken {
		return nil
	}
	m.rack.mu.Lock()
	done := m.rack.done
	m.rack.mu.Unlock()
	if done {
		return fmt.Errorf("rack: switch on %s: %w", m.spec.Name, fs.ErrClosed)
	}
	run, err := m.start()
	if err != nil {
		return fmt.Errorf("rack: switch on %s: %w", m.spec.Name, err)
	}
	m.run = run
	if m.spec.Firmware != BIOS {
		go m.retry(run) // until the machine is off
	}
	m.rack.log.Info("machine on", "node", m.spec.Name, "mac", m.spec.MAC, "firmware", m.spec.Firmware, "pid", run.cmd.Process.Pid)
	return nil
}

// start starts QEMU with the machine's tap and monitor.
func (m *Machine) start() (*run, error) {
	tap, err := m.rack.openTap(m.tap)
	if err != nil {
		return nil, err
	}
	defer tap.Close()
	qmp, monitor, err := newQMP()
	if err != nil {
		return nil, err
	}
	defer monitor.Close()
	cmd := m.rack.Command(context.Background(), "qemu-system-x86_64", m.args()...)
	cmd.Dir = m.dir
	cmd.ExtraFiles = []*os.File{tap, monitor}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.Stdout = m.console
	m.console.powerOn()
	if err := m.rack.starts.do(cmd.Start); err != nil {
		m.console.powerOff(nil)
		qmp.Close()
		return nil, err
	}
	r := &run{cmd: cmd, qmp: qmp, ended: make(chan struct{})}
	// Ends with the process.
	go func() {
		defer close(r.ended)
		r.err = cmd.Wait()
		qmp.Close()
		why := lastLine(stderr.Bytes())
		if r.err != nil && why != nil {
			m.rack.log.Debug("machine ended", "node", m.spec.Name, "err", why)
		}
		m.console.powerOff(why)
	}()
	return r, nil
}

// gaveUp is what OVMF prints when nothing could be booted.
var gaveUp = regexp.MustCompile("UEFI Interactive Shell")

// retry resets a machine whose firmware has given up, as a server's firmware tries its boot order again. SeaBIOS
// does that by itself; OVMF would stay in its shell for good.
func (m *Machine) retry(run *run) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Ends with the run.
	go func() {
		<-run.ended
		cancel()
	}()
	for {
		if _, err := m.WaitConsole(ctx, gaveUp); err != nil {
			return
		}
		if err := m.Reset(); err != nil {
			return
		}
		m.rack.log.Info("machine found nothing to boot and tries again", "node", m.spec.Name, "mac", m.spec.MAC)
	}
}

// Off cuts the machine's power and returns when it is off. It does nothing when the machine is off.
func (m *Machine) Off() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running() {
		return nil
	}
	if err := m.run.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("rack: switch off %s: %w", m.spec.Name, err)
	}
	<-m.run.ended
	m.rack.log.Info("machine off", "node", m.spec.Name, "mac", m.spec.MAC)
	return nil
}

// Running reports whether the machine is on. One that switched itself off is not.
func (m *Machine) Running() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.running()
}

// running is Running for a caller that holds mu.
func (m *Machine) running() bool {
	if m.run == nil {
		return false
	}
	select {
	case <-m.run.ended:
		return false
	default:
		return true
	}
}

// Reset presses the reset button: the firmware starts again. It fails when the machine is off.
func (m *Machine) Reset() error {
	return m.monitor("reset", func(q *qmp) error {
		m.console.mark()
		return q.execute(qmpCommand{Execute: "system_reset"})
	})
}

// Cable plugs the machine's network cable in or pulls it out; the machine sees its link go. Switching on plugs it
// in. It fails when the machine is off.
func (m *Machine) Cable(in bool) error {
	return m.monitor("network cable of", func(q *qmp) error {
		return q.execute(qmpCommand{Execute: "set_link", Arguments: map[string]any{"name": "net0", "up": in}})
	})
}

// monitor calls f with the monitor of the running machine; doing is for the error.
func (m *Machine) monitor(doing string, f func(*qmp) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running() {
		return fmt.Errorf("rack: %s %s: it is off: %w", doing, m.spec.Name, fs.ErrInvalid)
	}
	if err := f(m.run.qmp); err != nil {
		return fmt.Errorf("rack: %s %s: %w", doing, m.spec.Name, err)
	}
	return nil
}

// PID is the machine's process; 0 when it is off.
func (m *Machine) PID() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.running() {
		return 0
	}
	return m.run.cmd.Process.Pid
}
