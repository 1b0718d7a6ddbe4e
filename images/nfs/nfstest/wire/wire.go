// Package wire is what the conformance suite and its virtual machine say to each other: JSON, a line each,
// over TCP. It deliberately has nothing else, since it is linked into the machine's /init.
package wire

// Op is what the machine is to do.
type Op string

// The requests.
const (
	Mount    Op = "mount"    // Source on Path with Options
	Overlay  Op = "overlay"  // an overlay in RAM on Path above Source
	Unmount  Op = "unmount"  // Path
	Read     Op = "read"     // Path → Data
	Write    Op = "write"    // Data to Path
	List     Op = "list"     // Path → Names
	Stat     Op = "stat"     // Path → Mode, UID, GID, Rdev, and Data for a link's target
	Chown    Op = "chown"    // Path, to 33:33
	DropACL  Op = "dropacl"  // take Path's ACL away, as systemd does with a StateDirectory; none is no error
	Hold     Op = "hold"     // open Path and keep it open
	Release  Op = "release"  // close the held Path
	ReadHeld Op = "readheld" // Size bytes at Offset of the held Path → Data, from the server
)

// Request is one thing to do.
type Request struct {
	Op                    Op
	Path, Source, Options string
	Data                  []byte
	Offset                int64
	Size                  int
	// UID is who does it; zero is root.
	UID int
}

// Answer is what came of it. Error is empty when it worked.
type Answer struct {
	Error string
	Data  []byte
	Names []string
	Mode  uint32
	UID   uint32
	GID   uint32
	Rdev  uint64
}
