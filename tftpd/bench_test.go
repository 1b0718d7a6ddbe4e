package tftpd

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkTransfer sends 8 MB over loopback to a client that only counts.
func BenchmarkTransfer(b *testing.B) {
	const size = 8 << 20
	addr, _ := start(b, one(size), "127.0.0.1:0")
	for _, c := range []struct{ blksize, window int }{
		{512, 1}, {1428, 1}, {8192, 1}, {1428, 4}, {1428, 16}, {1428, 64},
	} {
		b.Run(fmt.Sprintf("blksize=%d/window=%d", c.blksize, c.window), func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if got := count(b, addr, c.blksize, c.window); got != size {
					b.Fatalf("got %d bytes, want %d", got, size)
				}
			}
		})
	}
}

// count fetches "f" and returns its size.
func count(b *testing.B, server netip.AddrPort, blksize, window int) int {
	c := rawUDP(b, "127.0.0.1:0")
	defer c.Close()
	_ = c.SetReadBuffer(4 << 20)
	p := rrq(option{"blksize", fmt.Sprint(blksize)}, option{"windowsize", fmt.Sprint(window)})
	if _, err := c.WriteToUDPAddrPort(p, server); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 65536)
	for total, have, unacked := 0, uint16(0), 0; ; {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			b.Fatal(err)
		}
		ack := func() {
			a := binary.BigEndian.AppendUint16([]byte{0, opAck}, have)
			if _, err := c.WriteToUDPAddrPort(a, from); err != nil {
				b.Fatal(err)
			}
			unacked = 0
		}
		if buf[1] == opOAck {
			ack()
			continue
		}
		if buf[1] != opData || binary.BigEndian.Uint16(buf[2:]) != have+1 {
			continue
		}
		have, total = have+1, total+n-headerLen
		last := n-headerLen < blksize
		if unacked++; unacked == window || last {
			ack()
		}
		if last {
			return total
		}
	}
}
