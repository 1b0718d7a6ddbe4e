package pair

import (
	"context"
	"fmt"
	"time"
)

// verify compares both disks, block by block, while they are in use. The kernel does it, and lookVerify sees its end.
func (d *Daemon) verify(ctx context.Context, o Orders, r Report) (bool, error) {
	if o.Verify == "" || o.Verify == d.token("verify") {
		return false, nil
	}
	s := d.machine.drbd()
	switch {
	case s.verifying():
		// The other half was faster.
	case s.connection != "Connected" || s.disk != "UpToDate" || s.peerDisk != "UpToDate":
		return false, nil // later, when there are two sides to compare
	default:
		if err := d.machine.drbdadm(ctx, "verify", Resource); err != nil {
			return false, err
		}
	}
	if err := d.acted("verifying", o.Verify); err != nil {
		return false, err
	}
	return true, d.acted("verify", o.Verify)
}

// lookVerify notes the outcome of a verification that has ended.
func (d *Daemon) lookVerify(s drbd) {
	running := d.token("verifying")
	if running == "" || s.verifying() || s.connection == "PausedSyncS" || s.connection == "PausedSyncT" {
		return
	}
	outcome := "no differences"
	switch {
	case !s.connected():
		outcome = "it was broken off, as the other half went away"
	case s.outOfSync > 0:
		outcome = fmt.Sprintf("%d KiB differ", s.outOfSync)
	}
	at := time.Now().UTC().Format(time.RFC3339)
	if err := d.acted("verified", at+": "+outcome); err == nil {
		d.acted("verifying", "")
	}
}
