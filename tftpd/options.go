package tftpd

import (
	"strconv"
	"time"
)

// Bounds of the options.
const (
	defaultBlksize = 512   // RFC 1350 §2, without the option
	minBlksize     = 8     // RFC 2348
	maxBlksize     = 65464 // RFC 2348
	// maxWindow: RFC 7440 §5 found no gain above 64 blocks.
	maxWindow = 64
	// maxWindowBytes bounds a window in bytes. 64 blocks of an Ethernet packet fit; more would
	// overrun the receive buffer of the client (Linux' default is 208 KiB with its overhead) and
	// cost this server the memory for each of a thousand machines.
	maxWindowBytes = 128 << 10
)

// terms are what a transfer was agreed on.
type terms struct {
	blksize int
	window  int
	// timeout is the client's; 0 means that it left it to us.
	timeout time.Duration
	// oack are the options to be acknowledged, in the order of the request; none means no OACK.
	oack []option
}

// offer is what the server can do for one transfer.
type offer struct {
	// blksize and window are the largest; a window of 1 means that the option is ignored.
	blksize, window int
	// size of the file in bytes; negative when it is not known, or differs on the wire.
	size int64
}

// negotiate answers the options of a request. Options that are unknown, or whose value makes no sense, are
// left out of the OACK, which tells the client that they were ignored (RFC 2347).
func negotiate(opts []option, o offer) terms {
	t := terms{blksize: defaultBlksize, window: 1}
	// The window is bounded in bytes, so the block size must be known first, wherever it stands.
	if v, ok := find(opts, "blksize"); ok {
		if n, err := strconv.Atoi(v); err == nil && n >= minBlksize {
			t.blksize = min(n, o.blksize)
		}
	}
	for _, opt := range opts {
		n, err := strconv.ParseInt(opt.value, 10, 64)
		if err != nil {
			continue
		}
		switch opt.name {
		case "blksize":
			if n >= minBlksize {
				t.ack(opt.name, int64(t.blksize))
			}
		case "tsize":
			if n >= 0 && o.size >= 0 {
				t.ack(opt.name, o.size)
			}
		case "timeout":
			if n >= 1 && n <= 255 { // RFC 2349: seconds, and to be echoed as they are
				t.timeout = time.Duration(n) * time.Second
				t.ack(opt.name, n)
			}
		case "windowsize":
			if n >= 1 && n <= 65535 && o.window > 1 { // RFC 7440 §3
				t.window = min(int(n), o.window, max(1, maxWindowBytes/t.blksize))
				t.ack(opt.name, int64(t.window))
			}
		}
	}
	return t
}

func (t *terms) ack(name string, value int64) {
	t.oack = append(t.oack, option{name, strconv.FormatInt(value, 10)})
}
