package pair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// startCluster hands over to Pacemaker, which brings DRBD up by itself.
func (d *Daemon) startCluster(ctx context.Context, o Orders, r Report) (bool, error) {
	if !o.Start || !d.own(o) {
		return false, nil
	}
	m := &d.machine
	// A decision of an operator comes first, if it can.
	if o.Promote != "" && o.Promote != d.token("promoted") && m.drbd().disk != "Inconsistent" {
		return false, nil
	}
	if err := m.link(ctx, d.seen.disk); err != nil {
		return false, err
	}
	// Without the third vote the cluster runs, and says so.
	d.rare(voteTry, 0)
	d.fail("third vote", d.vote(ctx))
	if m.drbd().configured() {
		if err := m.drbdadm(ctx, "down", Resource); err != nil {
			return false, err
		}
	}
	if err := m.write(StartFile, nil, 0o600); err != nil {
		return false, fmt.Errorf("pair: %w", err)
	}
	d.Console.Say("storage pair: the cluster starts")
	d.rare(startTry, 0)
	_, err := m.run(ctx, time.Minute, "systemctl", "start", "--no-block", Target)
	return err == nil, err
}

// Where corosync-qdevice has its certificates (see corosync-qdevice-net-certutil).
const (
	nssDir  = "/etc/corosync/qdevice/net/nssdb"
	nssDone = RunDir + "/vote"
)

// vote makes the certificate database that corosync-qdevice speaks TLS with.
func (d *Daemon) vote(ctx context.Context) error {
	m := &d.machine
	if m.flag(nssDone) {
		return nil
	}
	var v Vote
	if err := d.Server.Call(ctx, callTime, OpVote, nil, &v); err != nil {
		return err
	}
	dir := m.path(nssDir)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	files := map[string]string{"pwdfile.txt": "", "bundle.p12": string(v.Bundle), "bundle.pw": v.Password}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("pair: %w", err)
		}
	}
	empty, bundle := filepath.Join(dir, "pwdfile.txt"), filepath.Join(dir, "bundle.p12")
	for _, c := range [][]string{
		{"certutil", "-N", "-d", "sql:" + dir, "-f", empty},
		{"pk12util", "-i", bundle, "-d", "sql:" + dir, "-k", empty, "-w", filepath.Join(dir, "bundle.pw")},
		{"certutil", "-M", "-d", "sql:" + dir, "-n", "QNet CA", "-t", "CT,c,c", "-f", empty},
		{"certutil", "-L", "-d", "sql:" + dir, "-n", "Cluster Cert"},
	} {
		if _, err := m.run(ctx, time.Minute, c[0], c[1:]...); err != nil {
			return err
		}
	}
	if err := errors.Join(os.Remove(bundle), os.Remove(filepath.Join(dir, "bundle.pw"))); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	return m.write(nssDone, nil, 0o600)
}
