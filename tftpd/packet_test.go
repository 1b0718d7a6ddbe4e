package tftpd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRequest(t *testing.T) {
	for _, c := range []struct {
		name, packet string
		want         request
		bad          bool
	}{
		{"plain", "\x00\x01pxelinux.0\x00octet\x00", request{op: opRRQ, file: "pxelinux.0", mode: "octet"}, false},
		{"write", "\x00\x02f\x00OCTET\x00", request{op: opWRQ, file: "f", mode: "octet"}, false},
		{"options", "\x00\x01f\x00octet\x00tsize\x000\x00BLKSIZE\x001456\x00",
			request{op: opRRQ, file: "f", mode: "octet", options: []option{{"tsize", "0"}, {"blksize", "1456"}}}, false},
		{"twice", "\x00\x01f\x00octet\x00blksize\x008\x00blksize\x009\x00",
			request{op: opRRQ, file: "f", mode: "octet", options: []option{{"blksize", "8"}}}, false},
		{"padded", "\x00\x01f\x00octet\x00\x00\x00\x00", request{op: opRRQ, file: "f", mode: "octet"}, false},
		{"cut in an option", "\x00\x01f\x00octet\x00tsize\x000\x00blks", request{op: opRRQ, file: "f", mode: "octet", options: []option{{"tsize", "0"}}}, false},
		{"option without a value", "\x00\x01f\x00octet\x00tsize\x00", request{op: opRRQ, file: "f", mode: "octet"}, false},
		{"empty value", "\x00\x01f\x00octet\x00multicast\x00\x00", request{op: opRRQ, file: "f", mode: "octet", options: []option{{"multicast", ""}}}, false},
		{"empty", "", request{}, true},
		{"one byte", "\x00", request{}, true},
		{"data", "\x00\x03\x00\x01", request{op: opData}, true},
		{"no file", "\x00\x01\x00octet\x00", request{op: opRRQ}, true},
		{"file not ended", "\x00\x01file", request{op: opRRQ}, true},
		{"no mode", "\x00\x01f\x00", request{op: opRRQ, file: "f"}, true},
		{"mode not ended", "\x00\x01f\x00octet", request{op: opRRQ, file: "f"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseRequest([]byte(c.packet))
			if c.bad != (err != nil) || err != nil && !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("error %v, want one: %v", err, c.bad)
			}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(request{}, option{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestParseAnswer(t *testing.T) {
	if block, ok, err := parseAnswer([]byte{0, 4, 0xff, 0xfe}); block != 0xfffe || !ok || err != nil {
		t.Errorf("ACK: %d, %v, %v", block, ok, err)
	}
	long := append([]byte{0, 5, 0, 3}, bytes.Repeat([]byte("x"), 400)...)
	if _, _, err := parseAnswer(long); !errors.Is(err, ErrAborted) || len(err.Error()) > 200 {
		t.Errorf("ERROR with a long text: %v", err)
	}
}

// FuzzParseRequest: what was read and is written again is read as the same.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		"\x00\x01pxelinux.0\x00octet\x00", "\x00\x02f\x00netascii\x00tsize\x000\x00",
		"\x00\x01a\\b\xff\x00OCTET\x00blksize\x001456\x00windowsize\x0016\x00timeout\x005\x00", "\x00\x04\x00\x01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := parseRequest(p)
		if err != nil {
			return
		}
		again, err := parseRequest(r.encode())
		if err != nil {
			t.Fatalf("%+v, written again: %v", r, err)
		}
		if d := cmp.Diff(r, again, cmp.AllowUnexported(request{}, option{})); d != "" {
			t.Error(d)
		}
		if name, err := cleanPath(r.file); err == nil && !fs.ValidPath(name) {
			t.Errorf("%q becomes %q", r.file, name)
		}
		agreed := negotiate(r.options, offer{blksize: 1468, size: 1})
		if agreed.blksize < minBlksize || agreed.blksize > 1468 || agreed.window < 1 || agreed.window > maxWindow {
			t.Errorf("agreed on %+v", agreed)
		}
		if got := parseOptions(oackPacket(agreed.oack)[2:]); !cmp.Equal(got, agreed.oack, cmp.AllowUnexported(option{})) {
			t.Errorf("OACK %v is read as %v", agreed.oack, got)
		}
	})
}

// FuzzServer: no packets, to the well-known port or to a transfer, crash the server, leave anything open, or
// make it send what is no TFTP. The input is a sequence of packets, each after a byte for its length.
func FuzzServer(f *testing.F) {
	packets := func(ps ...string) []byte {
		var b []byte
		for _, p := range ps {
			b = append(append(b, byte(len(p))), p...)
		}
		return b
	}
	f.Add(packets("\x00\x01f\x00octet\x00", "\x00\x04\x00\x01", "\x00\x04\x00\x02"))
	f.Add(packets("\x00\x01f\x00netascii\x00windowsize\x004\x00blksize\x008\x00", "\x00\x04\x00\x00", "\x00\x04\x00\x02", "\x00\x04\x00\x02"))
	f.Add(packets("\x00\x01f\x00octet\x00tsize\x000\x00", "\x00\x05\x00\x08aborted\x00"))
	f.Add(packets("\x00\x02f\x00octet\x00", "\x00\x01../f\x00octet\x00", "\x00\x06\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		srv := one(3000)
		inMemory(t, srv, func(t *testing.T, n *memNet, _ ends) {
			c := n.client(t, 1)
			for len(b) > 0 {
				size := min(int(b[0]), len(b)-1)
				p := b[1 : 1+size]
				b = b[1+size:]
				if c.flow != nil && !isRequest(p) {
					c.send(p)
				} else {
					c.raw(p)
				}
				c.drain()
			}
		})
	})
}

// drain takes what the server has sent and checks that it is TFTP.
func (c *memClient) drain() {
	c.t.Helper()
	for {
		r, ok := c.pending()
		if !ok {
			return
		}
		c.flow = r.from
		if len(r.p) < 4 {
			c.t.Fatalf("% x", r.p)
		}
		switch op := binary.BigEndian.Uint16(r.p); op {
		case opData, opError, opOAck:
		default:
			c.t.Fatalf("opcode %d", op)
		}
	}
}
