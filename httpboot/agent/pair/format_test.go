package pair

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"
)

// A look that fails is no proof that a volume was never served.
func TestServedVolumeThatCannotBeSeen(t *testing.T) {
	blkid := func(label string, code int) func([]string) (string, error) {
		return func([]string) (string, error) {
			if code != 0 {
				return "", &ExitError{Command: "blkid", Code: code}
			}
			return label, nil
		}
	}
	tests := map[string]struct {
		blkid func([]string) (string, error)
		mount error // of the volume
		mkfs  bool
	}{
		"blank":                        {blkid("", 2), nil, true},
		"blkid took too long":          {blkid("", -1), nil, false},
		"several kinds at once":        {blkid("", 8), nil, false},
		"somebody else's":              {blkid("home", 0), nil, false},
		"it has no label":              {blkid("", 0), nil, false},
		"ours, never served":           {blkid(label, 0), nil, true},
		"ours, not finished":           {blkid(label, 0), &os.PathError{Op: "mount", Err: unix.EINVAL}, true},
		"ours, and the device is busy": {blkid(label, 0), &os.PathError{Op: "mount", Err: unix.EBUSY}, false},
		"ours, and the disk fails":     {blkid(label, 0), &os.PathError{Op: "mount", Err: unix.EIO}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHalf(t)
				h.f.program("blkid", tt.blkid)
				if tt.mount != nil {
					h.f.broken[Volume] = tt.mount
				}
				h.f.program("mkfs.ext4", func([]string) (string, error) { delete(h.f.broken, Volume); return "", nil })
				h.drbd.set(inSync)
				_, err := h.format(t.Context(), Orders{Format: true}, Report{})
				made := slices.ContainsFunc(h.f.did(), func(s string) bool { return strings.HasPrefix(s, "mkfs") })
				if made != tt.mkfs || (err == nil) != tt.mkfs {
					t.Errorf("mkfs: %v, %v", made, err)
				}
				if h.drbd.role != "Secondary" {
					t.Errorf("it stays %s", h.drbd.role)
				}
			})
		})
	}
}

// Who was killed while it made the file system has left the volume mounted and DRBD primary.
func TestFormatAfterACrash(t *testing.T) {
	h := newHalf(t)
	h.known()
	h.drbd.set(drbd{connection: "Connected", role: "Primary", peerRole: "Secondary", disk: "UpToDate", peerDisk: "UpToDate"})
	h.f.addMount(Device + " " + h.f.root + Volume + " ext4 rw")
	h.server.orders.Format = true
	h.settle()
	if !slices.Contains(h.server.ops, OpMade) || h.drbd.role != "Secondary" {
		t.Errorf("it said %q, and is %s\n%s", h.server.ops, h.drbd.role, h.said)
	}
	if _, ok := h.machine.mounted(Volume); ok {
		t.Error("the volume is still mounted")
	}
}
