package pair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// endSize is how much of both ends of a disk must be zero for it to be blank: more than every known kind of metadata
// needs.
const endSize = 1 << 20

// probe gives the device-uuid of DRBD's metadata on a disk, and what else it carries: a list for people, empty for a
// disk that is blank. Nothing is written. What can't be read is an error and no blank disk.
func (m *machine) probe(ctx context.Context, d disk) (meta, carries string, err error) {
	f, err := os.Open(m.path(d.device))
	if err != nil {
		return "", "", fmt.Errorf("pair: %w", err)
	}
	defer f.Close()
	if meta, err = readMeta(f, d.size); err != nil {
		return "", "", fmt.Errorf("pair: read %s: %w", d.device, err)
	}
	found, err := m.signatures(ctx, d, meta != "")
	if err != nil {
		return meta, "", err
	}
	if len(found) == 0 {
		found, err = nonZero(f, d.size, meta != "")
	}
	return meta, strings.Join(found, ", "), err
}

// nonZero says where a disk without any known signature is not empty. The end of one with DRBD's metadata is DRBD's.
func nonZero(r io.ReaderAt, size int64, drbd bool) ([]string, error) {
	ends := []struct {
		what string
		at   int64
	}{{"first", 0}, {"last", max(0, size-endSize)}}
	for _, end := range ends {
		if drbd && end.at > 0 {
			continue
		}
		b := make([]byte, min(endSize, size))
		if _, err := r.ReadAt(b, end.at); err != nil && err != io.EOF {
			return nil, fmt.Errorf("pair: read the %s MiB: %w", end.what, err)
		}
		for _, c := range b {
			if c != 0 {
				return []string{fmt.Sprintf("something unknown (its %s MiB is not empty)", end.what)}, nil
			}
		}
	}
	return nil, nil
}

// signature is one row of wipefs.
type signature struct {
	Type  string `json:"type"`
	Label string `json:"label"`
	UUID  string `json:"uuid"`
}

// String is for a person who has to recognise the disk.
func (s signature) String() string {
	what := s.Type + " data"
	switch t := s.Type; {
	case t == "gpt" || t == "dos" || t == "PMBR" || t == "mac" || t == "bsd" || t == "sun" || t == "sgi" || t == "atari":
		what = "a partition table (" + t + ")"
	case t == "LVM2_member" || t == "LVM1_member":
		what = "LVM"
	case t == "linux_raid_member" || strings.HasSuffix(t, "_raid_member"):
		what = "RAID (" + t + ")"
	case t == "crypto_LUKS":
		what = "an encrypted volume (LUKS)"
	case t == "swap":
		what = "swap space"
	case strings.HasSuffix(t, "_member"):
		what = strings.TrimSuffix(t, "_member") + " data"
	case t == "DM_snapshot_cow" || t == "bcache" || t == "BitLocker":
	case t == "drbd":
		what = "DRBD metadata of another version"
	default:
		what = "a file system (" + t + ")"
	}
	if s.Label != "" {
		what += fmt.Sprintf(" labelled %q", s.Label)
	}
	return what
}

// signatures lists what util-linux recognises on the disk itself: partition tables, RAID, LVM, file systems, swap.
// With drbd, DRBD's metadata are left out: readMeta has read them.
func (m *machine) signatures(ctx context.Context, d disk, drbd bool) ([]string, error) {
	out, err := m.run(ctx, time.Minute, "wipefs", "--json", "--output", "TYPE,LABEL,UUID", m.path(d.device))
	if err != nil {
		return nil, fmt.Errorf("pair: %w", err)
	}
	found, err := parseSignatures(out, drbd)
	if err != nil {
		return nil, err
	}
	if len(found) > 0 {
		return found, nil
	}
	// blkid says what wipefs passes over: 2 is nothing, 8 is several kinds at once.
	out, err = m.run(ctx, time.Minute, "blkid", "-p", "-o", "export", m.path(d.device))
	if exit, ok := errors.AsType[*ExitError](err); ok && exit.Code == 2 {
		return nil, nil
	} else if ok && exit.Code == 8 {
		return []string{"several kinds of data at once"}, nil
	} else if err != nil {
		return nil, fmt.Errorf("pair: %w", err)
	}
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), "=")
		if (k == "TYPE" || k == "PTTYPE") && !(v == "drbd" && drbd) {
			found = append(found, signature{Type: v}.String())
		}
	}
	return found, nil
}

func parseSignatures(out string, drbd bool) ([]string, error) {
	if strings.TrimSpace(out) == "" { // a blank disk
		return nil, nil
	}
	var all struct{ Signatures []signature }
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("pair: wipefs: %w", err)
	}
	var found []string
	seen := map[string]bool{}
	for _, s := range all.Signatures {
		text := s.String()
		if s.Type == "drbd" && drbd || seen[text] {
			continue
		}
		seen[text] = true
		found = append(found, text)
	}
	return found, nil
}

// erase makes a disk blank, with all that is on it.
func (m *machine) erase(ctx context.Context, d disk) error {
	if who := m.held(d); who != "" {
		return fmt.Errorf("pair: %s is not erased: %s", d.device, who)
	}
	if _, err := m.run(ctx, time.Minute, "wipefs", "--all", "--force", m.path(d.device)); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	f, err := os.OpenFile(m.path(d.device), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	defer f.Close()
	zero := make([]byte, min(endSize, d.size))
	for _, at := range []int64{0, d.size - int64(len(zero))} {
		if _, err := f.WriteAt(zero, at); err != nil {
			return fmt.Errorf("pair: erase %s: %w", d.device, err)
		}
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("pair: erase %s: %w", d.device, err)
	}
	return nil
}
