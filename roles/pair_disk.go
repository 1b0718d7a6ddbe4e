package roles

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
)

// diskVerdict is what becomes of the disk that a half found. At most one field is set; none where the disk is the
// pair's, or there is none.
type diskVerdict struct {
	// blank and erase are its serial number: metadata may be made on it; it was given with all that is on it.
	blank, erase string
	// refused says why it is not taken, and the command to go on.
	refused string
}

// disk judges the disk that side i found, and notes what is learnt by that. Data are never at stake: a disk is
// taken when its metadata are known, or nothing is on it; or it is erased because an operator said so.
func (d *pairing) disk(i int) diskVerdict {
	s, o := d.Sides[i], d.Sides[1-i]
	h := s.Half
	if !d.fresh(i) || h.Serial == "" || h.Phase == PhaseCluster && h.Meta == "" {
		return diskVerdict{} // a disk that failed at work cannot be read
	}
	if h.Phase == PhaseRefused && h.Meta == "" && h.Carries == "" {
		return diskVerdict{} // it could not look what is on it, and says why: that is not to be blank
	}
	mine, other := d.Pair.Disks[s.Slot], d.Pair.Disks[o.Slot]
	claimed := d.Pair.Claims[s.Slot] == claimOn(h)
	switch {
	case h.Meta == "" && h.Carries == "":
		return d.blank(i)
	case h.Meta == "" || h.Meta == other.Meta && (claimed || other.Meta == mine.Meta):
		return d.stranger(i)
	case h.Meta == mine.Meta:
		if mine.Serial != h.Serial {
			mine.Serial = h.Serial
			d.know(s.Slot, mine)
		}
		return diskVerdict{}
	case h.Meta == other.Meta:
		return d.swapped(i)
	case mine.Meta == "" && mine.Serial == h.Serial && !claimed:
		// It was blank, and is what was made of it.
		mine.Meta, mine.Since = h.Meta, d.Now
		d.know(s.Slot, mine)
		return diskVerdict{}
	}
	return d.stranger(i)
}

func (d *pairing) know(slot string, disk PairDisk) {
	if d.Pair.Disks == nil {
		d.Pair.Disks = map[string]PairDisk{}
	}
	d.Pair.Disks[slot] = disk
}

// blank judges a disk that nothing is on.
func (d *pairing) blank(i int) diskVerdict {
	s := d.Sides[i]
	h, mine := s.Half, d.Pair.Disks[s.Slot]
	known := mine.Serial == h.Serial
	if known && mine.Meta == "" {
		delete(d.Pair.Claims, s.Slot)
		return diskVerdict{blank: h.Serial}
	}
	if known && !d.Pair.Made.IsZero() && d.Pair.Claims[s.Slot] != claimOn(h) {
		return diskVerdict{refused: fmt.Sprintf("the disk %s is the pair's, but its metadata are gone and nothing is on it; to use it again, as a new one: %s",
			h.Serial, claimCommand(s.Slot, h.Serial))}
	}
	if why := d.mayMake(i); why != "" {
		return diskVerdict{refused: fmt.Sprintf("the blank disk %s is not taken: %s", h.Serial, why)}
	}
	d.know(s.Slot, PairDisk{Serial: h.Serial, Since: d.Now})
	delete(d.Pair.Claims, s.Slot)
	if mine.Serial != "" && !known {
		d.tell(i, "the blank disk %s (%s) replaces %s in %s", h.Serial, size(h.Size), mine.Serial, s.Slot)
	} else {
		d.tell(i, "the blank disk %s (%s) becomes that of %s", h.Serial, size(h.Size), s.Slot)
	}
	return diskVerdict{blank: h.Serial}
}

// stranger judges a disk that carries something that is not the pair's.
func (d *pairing) stranger(i int) diskVerdict {
	s := d.Sides[i]
	h := s.Half
	what := cmp.Or(h.Carries, "the metadata of another DRBD resource")
	if d.Pair.Claims[s.Slot] == claimOn(h) {
		if why := d.mayMake(i); why != "" {
			return diskVerdict{refused: fmt.Sprintf("the disk %s (%s) was given to be erased, and is not yet: %s", h.Serial, what, why)}
		}
		return diskVerdict{erase: h.Serial}
	}
	return diskVerdict{refused: fmt.Sprintf("the disk %s (%s) carries %s and is not touched; to give it to the pair with all that is on it: %s",
		h.Serial, size(h.Size), what, claimCommand(s.Slot, h.Serial))}
}

func claimCommand(slot, disk string) string {
	return fmt.Sprintf("muster storage claim %s --disk %s --erase", slot, shellWord(disk))
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:+@,=-]+$`)

// shellWord is s as one word of a command that people copy: a disk says any serial number.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// claimOn is what is kept of an operator's word that the disk h may go: its serial number. One without any is known by
// its device, which may be another one's after the next boot, so that what it was when it was given counts as well.
func claimOn(h Half) string {
	if !strings.HasPrefix(h.Serial, "/dev/") {
		return h.Serial
	}
	return fmt.Sprintf("%s, %s, with %s", h.Serial, size(h.Size), carried(h))
}

// mayMake says why no metadata may be made now on a blank disk of side i; empty when they may.
func (d *pairing) mayMake(i int) string {
	if d.Pair.Made.IsZero() {
		return ""
	}
	s, o := d.Sides[i], d.Sides[1-i]
	other := d.Pair.Disks[o.Slot]
	switch {
	case d.Pair.Outdated == o.Slot:
		return fmt.Sprintf("the data of %s are not the newest; those were on the disk %s of %s: put it back, or go on with what there is: muster storage promote %s",
			o.Slot, cmp.Or(d.Pair.Disks[s.Slot].Serial, "(not known)"), s.Slot, o.Slot)
	case !other.Whole || other.Meta == "":
		return fmt.Sprintf("%s has never had all data, so this disk cannot be filled from there", o.Slot)
	case !d.attached(1 - i):
		return fmt.Sprintf("waits for %s, which has the data", o.Slot)
	}
	switch state := o.Half.DiskState; state {
	case upToDate, consistent:
		return ""
	case "":
		return fmt.Sprintf("waits for %s, whose disk is not attached yet", o.Slot)
	default:
		return fmt.Sprintf("the disk of %s is %s: the pair's data must be whole there first", o.Slot, state)
	}
}

// swapped judges a disk that is known as the other half's: it moved between the machines, with its data.
func (d *pairing) swapped(i int) diskVerdict {
	s, o := d.Sides[i], d.Sides[1-i]
	h := s.Half
	if d.fresh(1-i) && o.Half.Meta == h.Meta {
		return diskVerdict{refused: fmt.Sprintf("the disk %s has the metadata that %s has too: one of the two is a copy; take it out, or: %s",
			h.Serial, o.Slot, claimCommand(s.Slot, h.Serial))}
	}
	gone := o.State == StateOff || o.Node.IsZero()
	if !gone && !d.fresh(1-i) && (d.Now.Sub(o.Heard) < peerWait || d.Now.Sub(d.Began) < peerWait) {
		return diskVerdict{refused: fmt.Sprintf("the disk %s is known as that of %s; waits until it is sure that it is not there", h.Serial, o.Slot)}
	}
	p := &d.Pair
	mine, other := p.Disks[s.Slot], p.Disks[o.Slot]
	other.Serial = h.Serial
	d.know(s.Slot, other)
	delete(p.Disks, o.Slot)
	if mine != (PairDisk{}) {
		d.know(o.Slot, mine)
	}
	for _, slot := range []*string{&p.Outdated, &p.Promoted, &p.Keep} {
		switch *slot {
		case s.Slot:
			*slot = o.Slot
		case o.Slot:
			*slot = s.Slot
		}
	}
	d.tell(i, "the disk %s, known as that of %s, is in %s now", h.Serial, o.Slot, s.Slot)
	return diskVerdict{}
}

// size is a number of bytes in words.
func size(n int64) string {
	const gib = 1 << 30
	if n < gib {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/gib)
}
