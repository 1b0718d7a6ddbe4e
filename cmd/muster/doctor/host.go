package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Space on the disk of Data. An image is 1 to 2 GB while it is built; the state needs some MB, and without
// them no lease can be given.
const (
	spaceFail  = 100 << 20
	spaceWarn  = 5 << 30
	inodesWarn = 100_000 // an image has some 30,000 files
)

// checkDisk looks whether Data can be written to, and how much room is left.
func checkDisk(_ context.Context, e *Env) []Finding {
	const check = "disk"
	if e.Data == "" {
		return nil
	}
	if err := tryWrite(e.Data); err != nil {
		fix := "see: ls -ld " + e.Data + "; mount"
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			fix = "make room: df -h " + e.Data + "; muster image list"
		}
		return []Finding{fail(check, fix, "cannot write to %s: %v", e.Data, err)}
	}
	var st unix.Statfs_t
	if err := unix.Statfs(e.Data, &st); err != nil {
		return []Finding{warn(check, "", "%s: %v", e.Data, err)}
	}
	free := st.Bavail * uint64(st.Bsize)
	const fix = "make room, or set data to a directory on a larger disk"
	switch {
	case free < spaceFail:
		return []Finding{fail(check, fix, "only %s left in %s", size(free), e.Data)}
	case free < spaceWarn:
		return []Finding{warn(check, fix, "%s left in %s: enough to run, not for many images", size(free), e.Data)}
	case st.Files > 0 && st.Ffree < inodesWarn:
		return []Finding{warn(check, fix, "only %d files more fit into %s (df -i)", st.Ffree, e.Data)}
	}
	return []Finding{ok(check, "%s left in %s", size(free), e.Data)}
}

// tryWrite writes a block through to the disk and takes it away again.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

func size(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// yearMin is when this was written: an earlier clock is one without a battery.
const yearMin = 2025

// checkClock looks whether the time is plausible and kept: nodes take it from here.
func checkClock(_ context.Context, e *Env) []Finding {
	const check = "clock"
	now := e.Now()
	if now.Year() < yearMin {
		return []Finding{fail(check, "set it: apt-get install chrony, or date -s", "the clock says %s: certificates and leases go by it", now.Format("2006-01-02"))}
	}
	var tx unix.Timex // Modes 0: only read
	state, err := unix.Adjtimex(&tx)
	if err != nil || state == unix.TIME_ERROR || tx.Status&unix.STA_UNSYNC != 0 {
		return []Finding{warn(check, "apt-get install chrony; see: chronyc tracking", "the clock says %s, but the kernel does not know it to be synchronised", now.Format("2006-01-02 15:04 MST"))}
	}
	return []Finding{ok(check, "synchronised: %s", now.Format("2006-01-02 15:04 MST"))}
}
