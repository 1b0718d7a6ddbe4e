package dhcpd

import (
	"testing"

	"golang.org/x/net/bpf"
)

// TestRepliesOnly: of all IP packets a socket hears the replies to clients alone.
func TestRepliesOnly(t *testing.T) {
	config, err := repliesOnly()
	if err != nil {
		t.Fatal(err)
	}
	program, ok := bpf.Disassemble(config.Filter)
	vm, err := bpf.NewVM(program)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	reply := make([]byte, 300)
	reply[0], reply[9], reply[21], reply[23] = 0x45, 17, 67, 68
	with := func(at int, value byte) []byte {
		p := append([]byte(nil), reply...)
		p[at] = value
		return p
	}
	options := with(0, 0x46)
	copy(options[24:], options[20:24])
	clear(options[20:24])
	for _, c := range []struct {
		name string
		p    []byte
		want bool
	}{
		{"a reply", reply, true}, {"with IP options", options, true}, {"TCP", with(9, 6), false}, {"TFTP", with(23, 69), false},
		{"a fragment", with(7, 1), false}, {"cut", reply[:20], false},
	} {
		if n, err := vm.Run(c.p); err != nil || (n > 0) != c.want {
			t.Errorf("%s: %d bytes are kept, %v; want that it is heard: %v", c.name, n, err, c.want)
		}
	}
}
