package agent

import (
	"encoding/json"
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
	// ParamKey is the Ed25519 public key (32 bytes, base64url without padding) that seals of images are
	// signed with.
	ParamKey = "muster.key"
	// ParamPin is the SHA-256 of the boot servers' TLS public key (SubjectPublicKeyInfo; base64url without
	// padding): the agent talks TLS to nobody else.
	ParamPin = "muster.pin"
	// ParamRoot is the type of root that the boot will most likely have, nfs (which is the default) or squashfs:
	// the agent loads its modules while it waits for the network. It may be wrong.
	ParamRoot = "muster.root"
)

// Paths of the agent's endpoints under the server's base URL.
const (
	PathHello  = "/v1/agent/hello"  // POST Hello → Reply
	PathSpec   = "/v1/agent/spec"   // POST Poll → Reply; a long poll while unassigned
	PathEvents = "/v1/agent/events" // POST Report → 204
	PathClaim  = "/v1/agent/claim"  // POST Claim → Claimed; TLS only
	PathNode   = "/v1/agent/node"   // POST Present → Orders; TLS only, a long poll of the running system
	PathPair   = "/v1/agent/pair"   // POST PairCall → the answer to its Op; TLS only
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
	// Root is the root file system, mounted read-only under an overlay in RAM. Its Type is nfs, or squashfs
	// for one that RAM says how to load.
	Root Mount `json:"root"`
	// RAM is set when Root's Type is squashfs.
	RAM *RAMRoot `json:"ram,omitempty"`
	// Secure is the server's base URL for TLS, https://10.77.0.1:8443; when it is set, the agent claims its
	// secrets there before it writes files, and the running system's agent polls there.
	Secure string `json:"secure,omitempty"`
	// Revision is that of Files together with the claimed ones.
	Revision string `json:"revision,omitempty"`
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
	// Version of NFS: 3 (which empty means), 4.1 or 4.2. Version 4 has no mountd, and its locks are the server's.
	Version string `json:"version,omitempty"`
	// Port is the NFS port; MountPort is mountd's. Zero means 2049 and the same as Port.
	Port      int `json:"port,omitempty"`
	MountPort int `json:"mountPort,omitempty"`
	// Target is the directory in the root, made when it is missing; empty for the root itself.
	Target   string `json:"target,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Options are appended to the mount data: "actimeo=3600".
	Options string `json:"options,omitempty"`
}

// RAMRoot says how to load a root that is held in RAM.
type RAMRoot struct {
	// Squashfs and Seal are paths on the boot servers: /images/web/7/root.squashfs. The squashfs takes Range
	// requests.
	Squashfs string `json:"squashfs"`
	Seal     string `json:"seal"`
	// Size of the squashfs in bytes.
	Size int64 `json:"size"`
}

// Seal is the first line of a seal (see images.Seal, which writes it), as JSON. The second line is the base64
// (standard, padded) of the Ed25519 signature over SealContext followed by the bytes of the first line without
// its newline.
type Seal struct {
	Ref    string `json:"ref"`
	Digest string `json:"digest"`
	// Size of the squashfs in bytes, Chunk that of each part but the last one.
	Size  int64 `json:"size"`
	Chunk int64 `json:"chunk"`
	// Sums are the SHA-256 of the chunks in order, in hex.
	Sums []string `json:"sums"`
}

// SealContext begins what a seal's signature is over.
const SealContext = "muster seal 1\n"

// File is written into the overlay before switch_root.
type File struct {
	// Path is absolute and clean.
	Path string `json:"path"`
	// Mode is the permission bits; zero means 0644.
	Mode uint32 `json:"mode,omitempty"`
	// Owner is user:group, looked up in the image; empty means root:root.
	Owner   string `json:"owner,omitempty"`
	Content []byte `json:"content"`
	// Secret says that a secret is in it, so that it may not lie on a volume; of claimed files all have one.
	Secret bool `json:"secret,omitempty"`
	// Reload are units to reload when it changes in the running system.
	Reload []string `json:"reload,omitempty"`
}

// Claim redeems the one-time token of a boot. The agent may repeat it with the same Key until it is answered.
type Claim struct {
	MAC   string `json:"mac"`
	Token string `json:"token"`
	// Key is 32 random bytes in hex, made for this boot; whoever claims first has it as its proof from then on.
	Key string `json:"key"`
}

// Claimed is the answer to a Claim.
type Claimed struct {
	// Files hold secrets; they are written like those of the spec.
	Files []File `json:"files,omitempty"`
}

// Present is a word of the running system's agent.
type Present struct {
	MAC string `json:"mac"`
	Key string `json:"key"`
	// Revision is that of the files it has.
	Revision string `json:"revision,omitempty"`
	// Errors are those of the last orders: a unit that did not reload.
	Errors []string `json:"errors,omitempty"`
}

// NodeOrders answers Present. All fields empty means: nothing to do, ask again.
type NodeOrders struct {
	// Revision and Files, when the node's differ: all files, of which the agent writes those that changed.
	Revision string `json:"revision,omitempty"`
	Files    []File `json:"files,omitempty"`
	// Restart is a sentence: why the machine must restart now, in good order.
	Restart string `json:"restart,omitempty"`
}

// PairCall is a word of a storage machine's running system. What it says and gets is package pair's.
type PairCall struct {
	MAC string `json:"mac"`
	Key string `json:"key"`
	// Op is one of pair's operations, Body its argument.
	Op   string          `json:"op"`
	Body json.RawMessage `json:"body,omitempty"`
}

// Session is what the boot's agent leaves to the running system's, as JSON in SessionFile, for root only. The
// running system's agent is the same program, AgentFile, started as "AgentFile node" by the unit AgentUnit in
// /run, so that images need nothing of it.
type Session struct {
	MAC string `json:"mac"`
	Key string `json:"key"`
	// Servers are the base URLs for TLS, Pin what ParamPin says.
	Servers  []string `json:"servers"`
	Pin      string   `json:"pin"`
	Revision string   `json:"revision,omitempty"`
	// Begun says that files were written, or are about to be, whose units have not been told.
	Begun bool `json:"begun,omitempty"`
}

// Where the running system's agent is. EnvFile tells the node's services what they run in, as shell
// assignments: MUSTER_SLOT=web-03, MUSTER_IMAGE=web:7.
const (
	SessionFile = "/run/muster/session"
	AgentFile   = "/run/muster/agent"
	EnvFile     = "/run/muster/env"
	AgentUnit   = "muster-agent.service"
)

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
