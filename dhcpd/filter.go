package dhcpd

import (
	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
)

// repliesOnly has the kernel keep all but UDP to the client's port from a socket of IP packets. Without it every packet of
// the interface would be copied and read, those that TFTP and HTTP send to machines that boot among them: that doubles
// what a lock-step transfer costs.
func repliesOnly() (*packet.Config, error) {
	const udp = 17
	filter, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: udp, SkipTrue: 6},
		bpf.LoadAbsolute{Off: 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4}, // not a first fragment
		bpf.LoadMemShift{Off: 0},
		bpf.LoadIndirect{Off: 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: clientPort, SkipTrue: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	return &packet.Config{Filter: filter}, err
}
