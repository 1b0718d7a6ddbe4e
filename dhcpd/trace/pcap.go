package trace

import (
	"encoding/binary"
	"io"
)

// Of the classic pcap format, which everything reads: the number of a file with microseconds, and Ethernet's.
const (
	pcapMagic    = 0xa1b2c3d4
	pcapEthernet = 1
	pcapSnap     = 65535
)

// PCAP writes packets into a pcap file.
type PCAP struct{ w io.Writer }

// NewPCAP writes the head of a file.
func NewPCAP(w io.Writer) (*PCAP, error) {
	h := make([]byte, 24)
	binary.LittleEndian.PutUint32(h[0:], pcapMagic)
	binary.LittleEndian.PutUint16(h[4:], 2) // version 2.4
	binary.LittleEndian.PutUint16(h[6:], 4)
	binary.LittleEndian.PutUint32(h[16:], pcapSnap)
	binary.LittleEndian.PutUint32(h[20:], pcapEthernet)
	_, err := w.Write(h)
	return &PCAP{w}, err
}

// Write adds a packet, in one write: who reads the file meanwhile finds whole packets. One that no frame can be built
// of is left out.
func (p *PCAP) Write(r Record) error {
	frame := Frame(r.Packet)
	if len(frame) == 0 || len(frame) > pcapSnap {
		return nil
	}
	b := make([]byte, 16, 16+len(frame))
	binary.LittleEndian.PutUint32(b[0:], uint32(r.Time.Unix()))
	binary.LittleEndian.PutUint32(b[4:], uint32(r.Time.Nanosecond()/1000))
	binary.LittleEndian.PutUint32(b[8:], uint32(len(frame)))
	binary.LittleEndian.PutUint32(b[12:], uint32(len(frame)))
	_, err := p.w.Write(append(b, frame...))
	return err
}
