package pair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// restoreDir is where archives are unpacked, on the volume and not exported; one at a time.
const restoreDir = musterDir + "/restore"

// restoreLeft is how much of the volume a restore leaves free, in percent: it is no reason for the services that use the
// volume to fail.
const restoreLeft = 5

// restore takes directories from an archive. All of it is unpacked and its seal checked before anything is put in its
// place; each then appears, or takes the other's place, at once.
func (d *Daemon) restore(ctx context.Context, cancel context.CancelCauseFunc, o Copy, p *pieces) (note string, err error) {
	m := &d.machine
	if !m.flag(ServingFile) {
		return "", errors.New("this half does not serve the volume (any more)")
	}
	var from []string
	for _, path := range o.Paths {
		if err := errors.Join(CheckCopyPath(path.From), CheckCopyPath(path.To), m.vacant(path.To, o.Replace)); err != nil {
			return "", err
		}
		from = append(from, path.From)
	}
	if err := os.RemoveAll(m.path(restoreDir)); err != nil { // what one that was broken off has left
		return "", fmt.Errorf("pair: %w", err)
	}
	if err := os.Mkdir(m.path(restoreDir), 0o700); err != nil {
		return "", fmt.Errorf("pair: %w", err)
	}
	defer os.RemoveAll(m.path(restoreDir)) // what stays is removed by the next one
	unwatch := beside(ctx, func(ctx context.Context) { d.watchRestore(ctx, cancel) })
	defer unwatch()
	seal := NewUnsealer(p)
	if err := unpack(ctx, seal, m.path(restoreDir), from); err != nil {
		return "", cmp.Or(p.err, seal.fault, err) // which the programs' own follow from
	}
	if _, err := io.Copy(io.Discard, seal); err != nil { // zstd may not have read to the very end
		return "", err
	}
	for _, path := range from {
		if st, err := os.Lstat(m.path(restoreDir + "/" + path)); err != nil || !st.IsDir() {
			return "", fmt.Errorf("the archive has no directory %s", path)
		}
	}
	unwatch() // what is put in its place from here on is no failure
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d directories are in their places", len(o.Paths)), d.settle(ctx, o)
}

// watchRestore ends a restore when the volume is taken away, or gets full.
func (d *Daemon) watchRestore(ctx context.Context, cancel context.CancelCauseFunc) {
	m := &d.machine
	for pause(ctx, 100*time.Millisecond) == nil {
		if !m.flag(ServingFile) {
			cancel(errors.New("this half does not serve the volume any more"))
			return
		}
		if total, used, err := m.sys.Capacity(m.path(Volume)); err == nil && total-used < total/100*restoreLeft {
			cancel(fmt.Errorf("the volume would be full: it has %s, and %d %% of it stay free", gibibytes(total), restoreLeft))
			return
		}
	}
}

// vacant says why a directory can't come to a place: something is there, and nobody said that it may go.
func (m *machine) vacant(to string, replace bool) error {
	all, err := os.ReadDir(m.path(Volume + "/" + to))
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(all) == 0 || err == nil && replace:
		return nil
	case err != nil:
		return fmt.Errorf("pair: %w", err)
	}
	return fmt.Errorf("%s is not empty, and nothing is overwritten unasked: restore it beside with --into, or let what is there go with --replace", to)
}

// settle puts what was unpacked in its place. Exports of those places are taken back meanwhile: who still has one of
// them mounted keeps it from happening.
func (d *Daemon) settle(ctx context.Context, o Copy) error {
	m := &d.machine
	c, err := m.kept()
	if err != nil {
		return err
	}
	for begin := time.Now(); ; {
		err = d.settleUnexported(ctx, c, o)
		if !errors.Is(err, errInUse) || time.Since(begin) > restoreWait {
			break
		}
		m.expireClients()
		if pause(ctx, restorePause) != nil {
			break
		}
	}
	_, _, again := d.offer(ctx, c, nil)
	return errors.Join(err, again)
}

// Times of a restore whose place somebody has open: a node that was switched off is one until its lease has ended.
const (
	restoreWait  = 40 * time.Second
	restorePause = time.Second
)

var errInUse = errors.New("a node that lives has it open")

// settleUnexported does it, and leaves to the caller to export again.
func (d *Daemon) settleUnexported(ctx context.Context, c Contents, o Copy) error {
	m := &d.machine
	unlock, err := m.lock(ctx, 30*time.Second)
	if err != nil {
		return err
	}
	defer unlock()
	without := c
	without.Exports = slices.DeleteFunc(slices.Clone(c.Exports), func(e Export) bool { return touches(e.Path, o.Paths) })
	if len(without.Exports) < len(c.Exports) {
		if _, _, err := m.export(ctx, without); err != nil {
			return err
		}
	}
	for _, target := range m.below(ExportDir) {
		if touches(strings.TrimPrefix(target, ExportDir+"/"), o.Paths) {
			return fmt.Errorf("%s is still in use: %w", strings.TrimPrefix(target, ExportDir+"/"), errInUse)
		}
	}
	for _, path := range o.Paths {
		if !m.flag(ServingFile) {
			return errors.New("this half does not serve the volume any more")
		}
		if err := m.vacant(path.To, o.Replace); err != nil {
			return err
		}
		if err := m.exchange(restoreDir+"/"+path.From, Volume+"/"+path.To); err != nil {
			return err
		}
	}
	return m.syncVolume()
}

// clientGone is how long an NFS client must be silent to be dead, in seconds: it renews its lease of 10 s in time.
const clientGone = 15

// expireClients has nfsd forget clients that are dead. By itself it keeps what they have open for a day, as a courtesy to
// those that come back, and with that what is exported (Linux 5.19, fs/nfsd/nfs4state.c).
func (m *machine) expireClients() {
	all, _ := filepath.Glob(m.path(nfsdDir + "/clients/*/info"))
	for _, info := range all {
		b, err := os.ReadFile(info)
		if err == nil && clientDead(string(b)) {
			_ = os.WriteFile(filepath.Dir(info)+"/ctl", []byte("expire\n"), 0o600) // who is still in use is seen
		}
	}
}

// clientDead reads what nfsd says of a client.
func clientDead(info string) bool {
	for line := range strings.Lines(info) {
		switch k, v, _ := strings.Cut(strings.TrimSpace(line), ": "); k {
		case "status":
			if v == "courtesy" || v == "expirable" {
				return true
			}
		case "seconds from last renew":
			if number(strings.TrimSpace(v)) > clientGone {
				return true
			}
		}
	}
	return false
}

// touches says whether a path is one of those that are restored to, or lies in it.
func touches(path string, all []CopyPath) bool {
	return slices.ContainsFunc(all, func(p CopyPath) bool { return path == p.To || strings.HasPrefix(path, p.To+"/") })
}

// exchange gives a directory the name of another one, and that one its own. One that is not there is as good.
func (m *machine) exchange(from, to string) error {
	from, to = m.path(from), m.path(to)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.ENOENT) {
		err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// syncVolume waits until all of the volume is on both disks.
func (m *machine) syncVolume() error {
	f, err := os.Open(m.path(Volume))
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("pair: what was restored may not be on the disks: %w", err)
	}
	return nil
}
