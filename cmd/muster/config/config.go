package config

import (
	"log/slog"
	"net/netip"
	"time"

	"muster/roles"
)

// DefaultPath is where muster.yaml is when nobody says otherwise.
const DefaultPath = "/etc/muster/muster.yaml"

// Config is muster.yaml. The zero value is not useful: start from Default, Load or Parse.
type Config struct {
	// Data is the absolute directory of everything that Muster keeps: state, images, volumes.
	// Default /var/lib/muster.
	Data string `mapstructure:"data"`
	// Library is a directory with the operator's own roles, which add to the built-in ones or override
	// them. Default /etc/muster/roles; it need not exist.
	Library  string   `mapstructure:"library"`
	DHCPD    DHCPD    `mapstructure:"dhcpd"`
	TFTPD    TFTPD    `mapstructure:"tftpd"`
	HTTPBoot HTTPBoot `mapstructure:"httpboot"`
	Images   Images   `mapstructure:"images"`
	API      API      `mapstructure:"api"`
	State    State    `mapstructure:"state"`
	Log      Log      `mapstructure:"log"`
	Power    Power    `mapstructure:"power"`
}

// DHCPD configures the DHCP server.
type DHCPD struct {
	// Mode is one of server; proxy, where somebody else's DHCP server gives the addresses and this one tells machines
	// what to boot; off, where the other server does that as well. Default server.
	Mode string `mapstructure:"mode"`
	// Interfaces are those on which DHCP is answered, and machines boot from. At least one is required.
	Interfaces []string `mapstructure:"interfaces"`
	// Subnets are those of the interfaces and those behind relays. At least one is required; they do not
	// overlap.
	Subnets []Subnet `mapstructure:"subnets"`
	// Subnets6 are the IPv6 networks in which firmware boots over IPv6. Empty means that DHCPv6 is off.
	Subnets6 []Subnet6 `mapstructure:"subnets6"`
	// Newcomers limits machines that nobody knows, for each interface and each circuit of a relay by itself.
	Newcomers Newcomers `mapstructure:"newcomers"`
	// Lookout is how often this server looks for other DHCP servers on its interfaces: 5m, the default, is soon enough
	// to explain the first boot that went wrong, and six packets that nobody notices. 0 means never; machines that
	// choose another server are heard all the same.
	Lookout time.Duration `mapstructure:"lookout"`
	// Probe looks by ARP whether somebody uses an address of a range before it is lent for the first time, in the
	// networks of the interfaces. Default false: machines look themselves, and decline what is in use.
	Probe bool `mapstructure:"probe"`
	// SubnetSelection lets machines name the subnet that they want an address of, option 118, as some access
	// servers and relays do. Default false, because any machine can say so.
	SubnetSelection bool `mapstructure:"subnetSelection"`
}

// Newcomers are machines without a slot, a host entry and a lease.
type Newcomers struct {
	// Rate is how many are let in each second; Burst how many at once. Zero means 100 and 1,000; a negative rate
	// no limit.
	Rate  int `mapstructure:"rate"`
	Burst int `mapstructure:"burst"`
	// Total is how many are let in within the time of a lease. Zero means 4,096 for an interface and 256 for a
	// circuit, negative no limit.
	Total int `mapstructure:"total"`
}

// Subnet is one IPv4 network in which machines boot.
type Subnet struct {
	// Subnet is the network: 10.77.0.0/24. Required.
	Subnet netip.Prefix `mapstructure:"subnet"`
	// Range has the addresses for machines without a slot, first-last. Required with mode server; with another mode
	// it is the other server's, as far as it is known. The pools' addresses lie outside of it.
	Range roles.AddressRange `mapstructure:"range"`
	// Router is the default router, option 3. The zero value means that there is none.
	Router netip.Addr `mapstructure:"router"`
	// DNS are the name servers, option 6. Empty means that the option is not sent.
	DNS []netip.Addr `mapstructure:"dns"`
	// Domain is the nodes' domain name, option 15. Empty means that the option is not sent.
	Domain string `mapstructure:"domain"`
	// Lease is how long an address is lent, option 51: 1h. Zero means 1h; at least 10s.
	Lease time.Duration `mapstructure:"lease"`
	// Routes are networks that machines reach by another way than Router, option 121. They are told to operating
	// systems; a node's image has only Router. Empty means that the option is not sent.
	Routes []Route `mapstructure:"routes"`
	// RapidCommit lets machines that ask for it have an address in two packets instead of four, option 80. Default
	// false: where a second DHCP server answers, each of the two would lend the machine an address.
	RapidCommit bool `mapstructure:"rapidCommit"`
	// BOOTP is how long an address of Range is lent to a machine that speaks BOOTP, which never renews: 720h.
	// Zero means that BOOTP is answered only for slots and Hosts.
	BOOTP time.Duration `mapstructure:"bootp"`
	// Hosts are the machines with a fixed address that Muster does not boot: printers, BMCs, switches. They
	// never become nodes. Empty means that there are none.
	Hosts []Host `mapstructure:"hosts"`
}

// Route is a way out of a subnet.
type Route struct {
	// To is the network: 10.90.0.0/16. Required.
	To netip.Prefix `mapstructure:"to"`
	// Via is the router, in the subnet; 0.0.0.0 means that To is on the link. Required.
	Via netip.Addr `mapstructure:"via"`
}

// Host is a machine that Muster gives an address and nothing else.
type Host struct {
	// MAC is its hardware address, 52:54:00:aa:00:01. Required; once in a subnet.
	MAC roles.MAC `mapstructure:"mac"`
	// Address is in the subnet, and nobody else's. In the subnet's range it is kept for this machine. Required.
	Address netip.Addr `mapstructure:"address"`
	// Hostname is its name, option 12, without domain. Empty means that the option is not sent.
	Hostname string `mapstructure:"hostname"`
}

// TFTPD configures the TFTP server.
type TFTPD struct {
	// Listen is host:port (UDP). Default ":69", which is where firmware asks.
	Listen string `mapstructure:"listen"`
	// IPXE is the directory of the iPXE boot programs. Default /usr/lib/ipxe, of Debian's package ipxe.
	IPXE string `mapstructure:"ipxe"`
	// Blksize is the largest block in bytes (RFC 2348), 8 to 65464. Zero means as large as fits one packet of the
	// path; a larger one is sent in fragments.
	Blksize int `mapstructure:"blksize"`
	// SinglePort has all packets sent from the port in Listen, for machines behind a NAT or a firewall. False means
	// a port for each transfer, as RFC 1350 has it.
	SinglePort bool `mapstructure:"singleport"`
	// Quirks are for firmware that cannot do what it says; the first whose MAC fits counts. Empty means none.
	Quirks []TFTPQuirk `mapstructure:"quirks"`
}

// TFTPQuirk is how some machines are served by TFTP.
type TFTPQuirk struct {
	// MAC is how the machines' addresses begin, lower case: "00:a0:b0" for a vendor, or a whole address. Required.
	MAC string `mapstructure:"mac"`
	// Blksize and Window are the largest, in bytes and blocks; a window of 1 means none. Zero means as for all.
	Blksize int `mapstructure:"blksize"`
	Window  int `mapstructure:"window"`
	// Rollover is the block number after 65,535: 0 or 1. Zero is what most firmware wants.
	Rollover int `mapstructure:"rollover"`
}

// HTTPBoot configures the HTTP boot server.
type HTTPBoot struct {
	// Listen is host:port (TCP). Default ":8080".
	Listen string `mapstructure:"listen"`
	// Secure is host:port (TCP) for TLS, where nodes get their secrets and running nodes their orders. Default
	// ":8443".
	Secure string `mapstructure:"secure"`
	// Templates is a directory with *.ipxe files that replace the built-in scripts of the same name. Empty
	// means that there are none.
	Templates string `mapstructure:"templates"`
	// Files is a directory of the operator's own, served by HTTP under /files/ and by TFTP. Empty means
	// files in Data.
	Files string `mapstructure:"files"`
}

// Images configures how images reach the nodes.
type Images struct {
	NFS NFS `mapstructure:"nfs"`
}

// NFS configures the exports.
type NFS struct {
	// Server is one of auto (kernel where there is an NFS server in it, else ganesha), ganesha, kernel,
	// external. Default auto.
	Server string `mapstructure:"server"`
	// Address is where nodes mount from. Zero means the address of this server on the node's network;
	// required with external.
	Address netip.Addr `mapstructure:"address"`
	// Path is the directory on an external server under which it has what this one has under Data.
	// Empty means the value of Data. Only with external.
	Path string `mapstructure:"path"`
	// Port is NFS's, MountPort mountd's. Zero means 2049 and 20048.
	Port      uint16 `mapstructure:"port"`
	MountPort uint16 `mapstructure:"mountport"`
}

// API configures the operators' API.
type API struct {
	// Socket is the unix socket's absolute path. Default /run/muster/muster.sock.
	Socket string `mapstructure:"socket"`
	// Listen is host:port (TCP), on a loopback address. Default "127.0.0.1:8081"; "" means no TCP.
	Listen string `mapstructure:"listen"`
	// Secure is host:port (TCP) for HTTPS, on any address: the API and its page for other machines, with the
	// token. Default "", none: keep it off the boot network.
	Secure string `mapstructure:"secure"`
	// Certificate is a file in PEM with the certificate chain and its key for Secure. Default "": the server's
	// own, which no browser knows.
	Certificate string `mapstructure:"certificate"`
}

// State configures where the rack's state is kept.
type State struct {
	// Backend is file, a database under Data. Default file.
	Backend string `mapstructure:"backend"`
}

// Log configures the log, which goes to standard error.
type Log struct {
	// Level is one of debug, info, warn, error. Default info.
	Level slog.Level `mapstructure:"level"`
	// Format is text or json. Default text.
	Format string `mapstructure:"format"`
}

// Power configures the power drivers. A driver that is not configured does not exist.
type Power struct {
	Lab *LabPower `mapstructure:"lab"`
}

// LabPower switches the machines of a virtual rack.
type LabPower struct {
	// Socket is the absolute path of the rack's power socket. Required.
	Socket string `mapstructure:"socket"`
}

// DefaultLease is the Lease of a subnet that names none: long enough for a boot and a coffee, short enough
// that the addresses of machines that came once are free again soon.
const DefaultLease = time.Hour

// DefaultLookout is the Lookout of a file that names none.
const DefaultLookout = 5 * time.Minute

// Default returns the configuration of an empty file. It is not valid: interfaces and subnets have no
// default.
func Default() *Config {
	return &Config{
		Data:     "/var/lib/muster",
		Library:  "/etc/muster/roles",
		DHCPD:    DHCPD{Lookout: DefaultLookout},
		TFTPD:    TFTPD{Listen: ":69", IPXE: "/usr/lib/ipxe"},
		HTTPBoot: HTTPBoot{Listen: ":8080", Secure: ":8443"},
		Images:   Images{NFS: NFS{Server: "auto"}},
		API:      API{Socket: "/run/muster/muster.sock", Listen: "127.0.0.1:8081"},
		State:    State{Backend: "file"},
		Log:      Log{Level: slog.LevelInfo, Format: "text"},
	}
}
