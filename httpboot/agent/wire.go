package agent

import (
	"net/netip"
	"time"
)

// Kernel command line parameters by which the boot server tells the agent where it is. They are the
// agent's only configuration.
const (
	// ParamServer is the boot servers' base URLs, comma separated: http://10.77.0.1:8080
	ParamServer = "muster.server"
	// ParamMAC is the MAC of the NIC that the machine booted from.
	ParamMAC = "muster.mac"
	// ParamToken is the one-time token of this boot.
	ParamToken = "muster.token"
	// ParamAddress is the address to come up with, in CIDR form: 10.77.0.100/24
	ParamAddress = "muster.ip"
	// ParamGateway is the default router, if any.
	ParamGateway = "muster.gw"
)

// Paths of the agent's endpoints under the server's base URL.
const (
	PathHello  = "/v1/agent/hello"  // POST Hello → Reply
	PathSpec   = "/v1/agent/spec"   // POST Poll → Reply; a long poll while unassigned
	PathEvents = "/v1/agent/events" // POST Report → 204
)

// Hello is the agent's first word.
type Hello struct {
	MAC   string `json:"mac"`
	Token string `json:"token"`
	// Kernel is the running kernel's release.
	Kernel string `json:"kernel"`
	// Uptime is the time since the kernel started.
	Uptime time.Duration `json:"uptime"`
	// Inventory is what the machine has.
	Inventory Inventory `json:"inventory"`
}

// Poll asks again for a spec. The server holds the request until there is one, for at most 25 s: below
// the idle time-out of common middleboxes.
type Poll struct {
	MAC   string `json:"mac"`
	Token string `json:"token"`
}

// Reply has exactly one of its fields set.
type Reply struct {
	// Wait is a sentence: what the machine waits for. It is shown on the console, and the agent polls.
	Wait string `json:"wait,omitempty"`
	// Spec is what to boot.
	Spec *Spec `json:"spec,omitempty"`
	// Reboot is a sentence: why the machine must restart (another kernel, mostly).
	Reboot string `json:"reboot,omitempty"`
}

// Inventory is what the agent finds in the machine.
type Inventory struct {
	UUID         string `json:"uuid,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
	Serial       string `json:"serial,omitempty"`
	Asset        string `json:"asset,omitempty"`
	// Memory in MiB.
	Memory int    `json:"memory"`
	CPUs   int    `json:"cpus"`
	CPU    string `json:"cpu,omitempty"`
	NICs   []NIC  `json:"nics,omitempty"`
	Disks  []Disk `json:"disks,omitempty"`
}

// NIC is one Ethernet interface.
type NIC struct {
	Name   string `json:"name"`
	MAC    string `json:"mac"`
	Driver string `json:"driver,omitempty"`
	// Speed in Mbit/s; 0 when not known.
	Speed int  `json:"speed,omitempty"`
	Link  bool `json:"link"`
}

// Disk is one block device.
type Disk struct {
	Name string `json:"name"`
	// Size in bytes.
	Size   int64  `json:"size"`
	Model  string `json:"model,omitempty"`
	Serial string `json:"serial,omitempty"`
}

// Spec is everything that a node needs to come up.
type Spec struct {
	// Hostname without domain, and Domain; both may appear in /etc/hosts and /etc/hostname.
	Hostname string `json:"hostname"`
	Domain   string `json:"domain,omitempty"`
	// Address replaces the one that the machine came up with, where it differs.
	Address netip.Prefix `json:"address"`
	// Gateway and DNS; both may be empty.
	Gateway netip.Addr   `json:"gateway,omitzero"`
	DNS     []netip.Addr `json:"dns,omitempty"`
	// Image is what boots, for messages: "web:7". Kernel is its release: the agent asks for a restart
	// when it runs another.
	Image  string `json:"image"`
	Kernel string `json:"kernel"`
	// Root is the root file system, mounted read-only under an overlay in RAM.
	Root Mount `json:"root"`
	// Mounts are made inside the root, in order: volumes and state directories.
	Mounts []Mount `json:"mounts,omitempty"`
	// Files are written into the overlay.
	Files []File `json:"files,omitempty"`
	// Init is the image's init; empty means /sbin/init.
	Init string `json:"init,omitempty"`
	// Now is the server's time: a machine whose clock is more than a minute off takes it.
	Now time.Time `json:"now"`
}

// Mount is one file system.
type Mount struct {
	// Type is nfs.
	Type string `json:"type"`
	// Server and Path: where it is.
	Server netip.Addr `json:"server"`
	Path   string     `json:"path"`
	// Port is the NFS port; MountPort is mountd's. Zero means 2049 and the same as Port.
	Port      int `json:"port,omitempty"`
	MountPort int `json:"mountPort,omitempty"`
	// Target is the directory in the root, made when it is missing; empty for the root itself.
	Target   string `json:"target,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Options are appended to the mount data: "actimeo=3600".
	Options string `json:"options,omitempty"`
}

// File is written into the overlay before switch_root.
type File struct {
	// Path is absolute and clean.
	Path string `json:"path"`
	// Mode is the permission bits; zero means 0644.
	Mode    uint32 `json:"mode,omitempty"`
	Content []byte `json:"content"`
}

// Report carries events to the server. The agent repeats it until the server took it.
type Report struct {
	MAC    string  `json:"mac"`
	Token  string  `json:"token"`
	Events []Event `json:"events"`
}

// Event is one step of the boot as the agent sees it.
type Event struct {
	// Seq counts this boot's events from 1: the server drops what it has already.
	Seq int `json:"seq"`
	// Uptime is the time since the kernel started: clocks may be wrong before hello.
	Uptime time.Duration `json:"uptime"`
	// Step is one of hello, network, root, mount, files, switch-root, reboot, fail.
	Step    string `json:"step"`
	Message string `json:"message,omitempty"`
	Error   string `json:"error,omitempty"`
}
