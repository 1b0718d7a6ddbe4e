package dhcpd

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// zeros is what a reply starts from.
var zeros [bootpSize]byte

// writer appends a reply to a buffer.
type writer struct {
	*answer
	b       []byte
	start   int // of the reply in b
	end     int // of its options
	without set // options to leave out
	name    [16]byte
}

// reply appends all of it to b.
func (w *writer) reply(b []byte) []byte {
	w.b = append(b, zeros[:headerSize]...)
	w.header()
	w.options()
	return w.finish()
}

// finish appends the End, and zeros up to the least size of a packet.
func (w *writer) finish() []byte {
	w.end = len(w.b)
	w.b = append(w.b, dhcpv4.OptionEnd.Code())
	if n := bootpSize - (len(w.b) - w.start); n > 0 {
		w.b = append(w.b, zeros[:n]...)
	}
	return w.b
}

// header writes the fixed fields but for those that boot does.
func (w *writer) header() {
	b, in := w.b[w.start:], w.req.msg.data
	b[0], b[atHTYPE], b[atHLEN] = byte(dhcpv4.OpcodeBootReply), in[atHTYPE], in[atHLEN]
	copy(b[atXID:], w.req.XID[:])
	copy(b[atFlags:atCIADDR], in[atFlags:])
	if w.kind == dhcpv4.MessageTypeNak && w.req.Relay.IsValid() || w.direct && !w.req.Client.IsValid() {
		b[atFlags] |= 0x80 // RFC 2131 §4.3.2: the relay must not unicast it to an address that is wrong, or none
	}
	if w.kind == dhcpv4.MessageTypeAck && w.req.Type != dhcpv4.MessageTypeDiscover {
		copy(b[atCIADDR:atYIADDR], in[atCIADDR:])
	}
	if w.addr.IsValid() {
		a := w.addr.As4()
		copy(b[atYIADDR:], a[:])
	}
	copy(b[atGIADDR:atCHADDR], in[atGIADDR:])
	copy(b[atCHADDR:], w.req.MAC[:])
	copy(b[atCookie:], magic)
}

// put appends an option, in as many pieces as it needs (RFC 3396 §5).
func (w *writer) put(code dhcpv4.OptionCode, v ...byte) {
	c := code.Code()
	if w.without.has(c) {
		return
	}
	for more := true; more; more = len(v) > 0 {
		n := min(len(v), 255)
		w.b = append(append(w.b, c, byte(n)), v[:n]...)
		v = v[n:]
	}
}

func (w *writer) text(code dhcpv4.OptionCode, s string) {
	c := code.Code()
	if w.without.has(c) {
		return
	}
	for more := true; more; more = len(s) > 0 {
		n := min(len(s), 255)
		w.b = append(append(w.b, c, byte(n)), s[:n]...)
		s = s[n:]
	}
}

func (w *writer) seconds(code dhcpv4.OptionCode, d time.Duration) {
	var v [4]byte
	binary.BigEndian.PutUint32(v[:], uint32(min(d/time.Second, 1<<32-2)))
	w.put(code, v[:]...)
}

// addrs appends at most as many addresses as one option holds.
func (w *writer) addrs(code dhcpv4.OptionCode, list []netip.Addr) {
	c := code.Code()
	if w.without.has(c) {
		return
	}
	list = list[:min(len(list), 63)]
	w.b = append(w.b, c, byte(4*len(list)))
	for _, a := range list {
		v := a.As4()
		w.b = append(w.b, v[:]...)
	}
}

// echo gives back an option as it came.
func (w *writer) echo(code dhcpv4.OptionCode) {
	if v := w.req.get(code); len(v) > 0 {
		w.put(code, v...)
	}
}
