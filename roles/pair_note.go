package roles

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Bounds of what a half may say: it is repeated in events and views.
const (
	halfText   = 500
	halfErrors = 8
	halfImages = 1000
)

// clipped is h with nothing in it too long.
func (h Half) clipped() Half {
	for _, s := range []*string{&h.Phase, &h.Why, &h.Disk, &h.Serial, &h.Meta, &h.Carries, &h.Role, &h.DiskState, &h.PeerDisk,
		&h.Connection, &h.Revision, &h.Verify} {
		*s = clipped(*s, halfText)
	}
	h.Errors = slices.Clone(h.Errors[:min(len(h.Errors), halfErrors)])
	for i := range h.Errors {
		h.Errors[i] = clipped(h.Errors[i], halfText)
	}
	h.Images = h.Images[:min(len(h.Images), halfImages)]
	return h
}

// Bounds of a volume that is nearly full, in percent: told above the first, forgotten below the second.
const (
	fullAbove = 90
	fullBelow = 85
)

// full reports whether the volume is nearly full; before is what was found before.
func (h Half) full(before bool) bool {
	percent := float64(h.Used) / float64(h.Capacity) * 100
	return percent > fullAbove || before && percent > fullBelow
}

// notes are what is worth telling of what a half says now, after what it said before. Of a half that was not
// heard before nothing is known to have changed, unless its boot began since somebody listens.
func notes(w halfIdentity, before halfMemory, now Half, full bool, began time.Time) (out []pairEvent) {
	if before.at.IsZero() && w.boot.Started.Before(began) {
		return nil
	}
	was := before.half
	tell := func(message, failure string) {
		out = append(out, pairEvent{Slot: w.slot.Name, Step: StepStorage, Message: message, Error: failure})
	}
	if was.Phase != now.Phase && now.Phase != PhaseRefused {
		tell(phaseWords(now), "")
	}
	noteDisk(w, was, now, tell)
	noteVotes(was, now, tell)
	if was.Standby != now.Standby {
		tell(map[bool]string{true: "runs nothing, as an operator wanted", false: "may run the volume again"}[now.Standby], "")
	}
	if was.Active && !now.Active {
		tell("no longer serves", "")
	}
	if full && !before.full {
		tell("", fmt.Sprintf("the volume is more than %d %% full: %s of %s", fullAbove, size(now.Used), size(now.Capacity)))
	}
	return out
}

func phaseWords(h Half) string {
	switch h.Phase {
	case PhaseDisk:
		return "looks for its disk"
	case PhaseReady:
		return fmt.Sprintf("its disk %s (%s) is attached", h.Serial, size(h.Size))
	case PhaseCluster:
		return "its cluster runs"
	}
	return "is in phase " + h.Phase
}

// noteDisk tells what became of a half's data.
func noteDisk(w halfIdentity, was, now Half, tell func(message, failure string)) {
	if was.Split != now.Split && now.Split {
		tell("", fmt.Sprintf("both halves were written and differ (split); nothing is discarded by itself; see muster storage status %s, then for example: %s",
			w.pool.Name, keepCommand(w.slot.Name)))
	}
	if was.DiskState == now.DiskState || was.DiskState == "" {
		return
	}
	switch now.DiskState {
	case upToDate:
		if was.DiskState == inconsistent {
			tell("has all data now: the sync is finished", "")
		} else {
			tell(fmt.Sprintf("its data are %s (were %s)", upToDate, was.DiskState), "")
		}
	case inconsistent:
		tell(cmp.Or(syncWords(now), "its data are not complete"), "")
	case outdated:
		tell("its data are not the newest", "")
	case diskless, "Failed":
		tell("", fmt.Sprintf("lost its disk %s: replace it; the other half goes on alone", now.Serial))
	}
}

// syncWords say how far a resync is; empty where none runs.
func syncWords(h Half) string {
	if h.Connection != syncTarget && h.Connection != "PausedSyncT" {
		return ""
	}
	out := fmt.Sprintf("is syncing, %.0f %%", h.Synced)
	if h.Left > 0 {
		out += ", " + minutes(time.Duration(h.Left)*time.Second) + " left"
	}
	return out
}

// minutes is a time that is only guessed.
func minutes(d time.Duration) string {
	switch n := int(d.Round(time.Minute).Minutes()); {
	case d < 90*time.Second:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", n)
	default:
		return fmt.Sprintf("%d hours", (n+30)/60)
	}
}

// noteVotes tells what became of a half's right to act.
func noteVotes(was, now Half, tell func(message, failure string)) {
	if now.Phase != PhaseCluster || was.Phase != PhaseCluster {
		return
	}
	switch {
	case was.Quorate && !now.Quorate:
		tell("", "has no quorum: it sees neither the other half nor the boot server's vote, and stops what it runs")
	case !was.Quorate && now.Quorate:
		tell("has a quorum", "")
	}
	switch {
	case was.QDevice && !now.QDevice:
		tell("", "does not hear the boot server's vote: if the other half dies now, this one stops too")
	case !was.QDevice && now.QDevice:
		tell("hears the boot server's vote", "")
	}
}

func keepCommand(slot string) string { return "muster storage keep " + slot }
