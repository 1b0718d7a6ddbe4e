package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/httpboot/agent/pair"
	"muster/roles/api"
)

func (p *program) newStorageBackupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "backup POOL [--to FILE]", Short: "one archive of a storage pair's volumes and state, as they are now",
		Long: "Backup writes an archive of all volumes and state directories of a storage pair, as they are at one moment: what\n" +
			"a power cut would leave at that moment. The pair serves on; writes are held back for some milliseconds. It is\n" +
			"read from the half that does not serve, and refused while that one has not all data.\n\n" +
			"The archive is a tar in Zstandard with numeric owners, ACLs and extended attributes, and has its own digest at\n" +
			"its end: FILE appears when that has come and is right, and a backup that fails leaves none. Images are not in\n" +
			"it: they are built again, or published again. On \"-\" it goes to the standard output; then the exit status says\n" +
			"whether it was whole.\n\n" +
			"What is overwritten on the disk while it lasts is kept in the memory of that half. When that is full the backup\n" +
			"fails, and nothing else does: take another hour, or more --room.",
		Example: "  muster storage backup storage --to /backup/storage-$(date +%F).tar.zst\n" +
			"  muster storage backup storage --to - | ssh vault 'cat >storage.tar.zst'",
		Args: wants("POOL"), ValidArgsFunction: p.completeArgs(p.pairNames),
	}
	to := cmd.Flags().String("to", "", "the file to write, or - for the standard output; without it POOL-TIME.tar.zst here")
	room := cmd.Flags().Int64("room", 0, "memory for what is overwritten while it lasts, in MiB; 0 is a third of what that half has free")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		pool, file := args[0], *to
		if *room < 0 {
			return usageError{cmd, fmt.Errorf("--room %d is no size", *room)}
		}
		if file == "-" {
			_, err := backup(cmd.Context(), c, pool, api.BackupRequest{Room: *room << 20, To: whereTo("the standard output")}, p.stdout)
			return err
		}
		now := p.now()
		if file == "" {
			file = pool + "-" + now.Format("20060102-150405") + ".tar.zst"
		}
		size, err := backupFile(cmd.Context(), c, pool, *room<<20, file)
		if err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "%s: %.1f MiB in %.1f s, whole\n", printable(file), float64(size)/(1<<20), p.now().Sub(now).Seconds())
		return nil
	}
	return cmd
}

// backup writes an archive to w and checks its digest on the way.
func backup(ctx context.Context, c *api.Client, pool string, q api.BackupRequest, w io.Writer) (size int64, err error) {
	pr, pw := io.Pipe()
	checked := make(chan error, 1)
	go func() { // ends with the pipe
		n, err := io.Copy(w, pair.NewUnsealer(pr))
		size = n
		pr.CloseWithError(err)
		checked <- err
	}()
	err = c.BackupPair(ctx, pool, q, pw)
	pw.CloseWithError(err)
	check := <-checked
	if err == nil {
		err = check
	}
	return size, err
}

// backupFile makes a file of an archive, which has its name when it is whole and on the disk.
func backupFile(ctx context.Context, c *api.Client, pool string, room int64, file string) (size int64, err error) {
	if _, err := os.Lstat(file); err == nil {
		return 0, fmt.Errorf("%s is there already, and is not overwritten: %w", file, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // what failed
	to := file
	if abs, err := filepath.Abs(file); err == nil {
		to = abs
	}
	size, err = backup(ctx, c, pool, api.BackupRequest{Room: room, To: whereTo(to)}, f)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return size, err
	}
	// Link, not rename: a file that came meanwhile stays.
	return size, os.Link(f.Name(), file)
}

// whereTo says to the server, for people, where an archive goes: it is on this machine.
func whereTo(place string) string {
	if host, err := os.Hostname(); err == nil {
		place = host + ":" + place
	}
	return strings.ToValidUTF8(place[:min(len(place), 500)], "")
}

func (p *program) newStorageRestoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "restore POOL FILE [--volume NAME|--slot SLOT|--all]", Short: "take a volume, a slot's state or everything back from an archive",
		Long: "Restore takes directories from an archive of muster storage backup. Without --volume, --slot or --all it only\n" +
			"checks the archive and lists what it has.\n\n" +
			"A directory is restored as a whole, and only where no node may have it mounted: nodes that use it must be off\n" +
			"(muster node power NODE off), or it comes beside under another name with --into. What is there is never\n" +
			"overwritten unasked: --replace lets it go, after it has asked for the pair's name. All of the archive is\n" +
			"unpacked and checked first; then each directory takes its place at once.\n\n" +
			"After both machines burnt: declare the pair, let it make its new file system, and restore --all before its\n" +
			"users are switched on.",
		Example: "  muster storage restore storage storage-2026-03-01.tar.zst\n" +
			"  muster storage restore storage storage-2026-03-01.tar.zst --volume www --into www-of-march\n" +
			"  muster storage restore storage storage-2026-03-01.tar.zst --slot web-01 --replace",
		Args: wants("POOL", "FILE"), ValidArgsFunction: p.completeArgs(p.pairNames),
	}
	volume := cmd.Flags().String("volume", "", "the volume to restore")
	slot := cmd.Flags().String("slot", "", "the slot whose state is restored")
	into := cmd.Flags().String("into", "", "another name for what is restored: it comes beside")
	all := cmd.Flags().Bool("all", false, "restore everything that the archive has")
	replace := cmd.Flags().Bool("replace", false, "let go what is there")
	yes := cmd.Flags().Bool("yes", false, "do not ask for the pair's name: what is lost is known")
	cmd.MarkFlagsMutuallyExclusive("volume", "slot", "all")
	cmd.MarkFlagsMutuallyExclusive("into", "all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.client(cmd)
		if err != nil {
			return err
		}
		pool, file := args[0], args[1]
		m, err := checkArchive(file)
		if err != nil {
			return err
		}
		q, err := restoreRequest(m, *volume, *slot, *into, *all)
		if err != nil {
			return err
		}
		if len(q.From) == 0 {
			p.printArchive(m)
			return nil
		}
		if *replace {
			q.Replace, q.Confirm = true, pool
			var lost []string
			for i, to := range q.To {
				lost = append(lost, fmt.Sprintf("%s is replaced by %s of %s, %s: what it has now is lost.", to, q.From[i], m.Pool, stamp(m.At)))
			}
			if err := p.confirm(cmd.Context(), *yes, pool, lost...); err != nil {
				return err
			}
		}
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		done, err := c.RestorePair(cmd.Context(), pool, q, f)
		if err != nil {
			return err
		}
		for _, to := range done.To {
			fmt.Fprintf(p.stdout, "%s is restored, as it was %s\n", printable(to), m.At.Local().Format(time.DateTime))
		}
		return nil
	}
	return cmd
}
