package tftpd

import "time"

const (
	// losses is after how many windows in a row that did not arrive whole their packets are spread: chance alone,
	// at 1 % and 16 blocks, has it once in 7,000 windows; a ring that is too small has it at once.
	losses = 5
	// wholes is after how many whole ones twice as many packets are sent at once again. It doubles, up to maxWholes,
	// with every time that this turned out to be too many.
	wholes    = 16
	maxWholes = 256
	// minGap and maxGap are the time between two bursts. A network card's ring is emptied within it, and a ROM of
	// 1 GHz copies a packet in less.
	minGap = time.Millisecond
	maxGap = 8 * time.Millisecond
)

// pace is how much of a window is sent at once. The client has agreed to the window, but the ring of its network card
// may be smaller: 8 and 32 packets are common in ROMs. Then every window loses its end, and every block is sent
// several times. So where windows keep being lost they are sent in parts.
type pace struct {
	window, burst int
	gap           time.Duration
	lossy, good   int
	enough        int // whole windows until the next try
}

func newPace(window int) pace {
	return pace{window: window, burst: window, gap: minGap, enough: wholes}
}

// lost takes note of a window that did not arrive whole.
func (p *pace) lost() {
	if p.lossy++; p.lossy < losses || p.window < 2 {
		return
	}
	p.lossy, p.good, p.enough = 0, 0, min(2*p.enough, maxWholes)
	if p.burst > 1 {
		p.burst /= 2
		return
	}
	p.gap = min(2*p.gap, maxGap)
}

// whole takes note of one that did.
func (p *pace) whole() {
	p.lossy = 0
	if p.good++; p.good < p.enough || p.burst == p.window {
		return
	}
	p.good = 0
	if p.gap > minGap {
		p.gap /= 2
		return
	}
	p.burst = min(2*p.burst, p.window)
}

// weak reports whether the client should be offered a smaller window next time.
func (p *pace) weak() bool { return p.window > 1 && p.burst*4 <= p.window }
