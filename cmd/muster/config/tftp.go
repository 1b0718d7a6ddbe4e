package config

import (
	"fmt"
	"regexp"
)

// macStart is the beginning of a MAC address, in whole bytes.
var macStart = regexp.MustCompile(`^[0-9a-f]{2}(:[0-9a-f]{2}){0,5}$`)

// tftp checks what only the TFTP server has.
func (c *check) tftp(t TFTPD) {
	blksize := func(key string, n int) {
		if n != 0 && (n < 8 || n > 65464) {
			c.fault(key, "%d is no block size (want 8 to 65464 bytes)", n)
		}
	}
	blksize("tftpd.blksize", t.Blksize)
	for i, q := range t.Quirks {
		key := fmt.Sprintf("tftpd.quirks[%d].", i)
		if !macStart.MatchString(q.MAC) {
			c.fault(key+"mac", "%q is not how a MAC address begins (want the form 00:a0:b0, in lower case)", q.MAC)
		}
		blksize(key+"blksize", q.Blksize)
		if q.Window < 0 || q.Window > 64 {
			c.fault(key+"window", "%d is no window (want 1 to 64 blocks)", q.Window)
		}
		if q.Rollover != 0 && q.Rollover != 1 {
			c.fault(key+"rollover", "block %d does not follow 65,535 anywhere (want 0 or 1)", q.Rollover)
		}
	}
}
