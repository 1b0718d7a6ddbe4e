package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Finding is the result of a check.
type Finding struct {
	// Check names it: interface, dhcp, ipxe, tftp, http, image, nfs, clock, disk.
	Check string
	// Status is OK, Warn or Fail.
	Status Status
	// Detail says in a sentence what was found; Fix what to do about it, "" when nothing.
	Detail, Fix string
}

// Status is how a check ended.
type Status string

// The statuses. Warn is what works and should be looked at; Fail keeps machines from booting, or soon will.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
)

// Env is what there is to examine. A field that is empty leaves its check out, unless it says otherwise.
type Env struct {
	// Interfaces are those that machines boot from; Subnets the networks on them and behind relays.
	Interfaces []string
	Subnets    []netip.Prefix
	// DHCP says who gives the addresses: this server (DHCPServer, the zero value), or another one.
	DHCP DHCP
	// Offers returns the answers to a DHCPDISCOVER on an interface, all that come until ctx ends. It is
	// called for several interfaces at once.
	Offers func(ctx context.Context, iface string) ([]Offer, error)
	// Heard are other servers that machines were heard to choose. Empty means none.
	Heard []Heard
	// IPXE is the directory of the boot programs; Programs are the files that are handed out. Empty
	// Programs means undionly.kpxe and snponly.efi.
	IPXE     string
	Programs []string
	// TFTP and HTTP are host:port as they are listened on. Without a host, or with 0.0.0.0, every address
	// of the interfaces is asked.
	TFTP, HTTP string
	// Images are the current ones. None at all is a warning where HTTP is set.
	Images []Image
	// Exports are what nodes mount.
	Exports []Export
	// Data is the directory of state and images.
	Data string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// DHCP is the part that the examined server has in DHCP.
type DHCP int

// The parts: it gives the addresses; it tells machines of another server what to boot; it leaves both to the other one.
const (
	DHCPServer DHCP = iota
	DHCPProxy
	DHCPOff
)

// Offer is a DHCP server's answer.
type Offer struct {
	// Server is its identifier (option 54); Address is what it offers, zero for a proxyDHCP server.
	Server, Address netip.Addr
	// BootFile is what it would have the machine boot, "" for nothing; NextServer where that is.
	BootFile   string
	NextServer netip.Addr
}

// Heard is another DHCP server that a machine chose.
type Heard struct {
	Interface string
	Server    netip.Addr
	// By is the machine's MAC, At when it chose.
	By string
	At time.Time
}

// Image is a published image as HTTP offers it.
type Image struct {
	// Name is for people: web:7. Path is the kernel's path at the server: /images/web/7/vmlinuz.
	Name, Path string
	// Size is the kernel's in bytes; zero means that it is not compared.
	Size int64
}

// Export is a directory as nodes mount it.
type Export struct {
	// Server has it; the zero value means every address of the interfaces.
	Server netip.Addr
	Path   string
	// Port is NFS's, MountPort mountd's; zero means 2049 and 20048.
	Port, MountPort int
}

// timeout bounds each check: no answer in that time is an answer.
const timeout = 15 * time.Second

// checks in the order in which a boot needs them.
var checks = []func(context.Context, *Env) []Finding{
	checkInterfaces, checkDHCP, checkPrograms, checkTFTP, checkHTTP, checkImages, checkExports, checkDisk, checkClock,
}

// Run makes every check, all at the same time, and returns what they found in the order of a boot. It takes
// as long as the slowest one, at most 15 s.
func Run(ctx context.Context, env Env) []Finding {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if env.Now == nil {
		env.Now = time.Now
	}
	if len(env.Programs) == 0 {
		env.Programs = []string{"undionly.kpxe", "snponly.efi"}
	}
	results := make([][]Finding, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { results[i] = check(ctx, &env) }) // ends with its check
	}
	wg.Wait()
	return slices.Concat(results...)
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Status: OK, Detail: fmt.Sprintf(format, args...)}
}

func warn(check, fix, format string, args ...any) Finding {
	return Finding{Check: check, Status: Warn, Detail: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(check, fix, format string, args ...any) Finding {
	return Finding{Check: check, Status: Fail, Detail: fmt.Sprintf(format, args...), Fix: fix}
}
