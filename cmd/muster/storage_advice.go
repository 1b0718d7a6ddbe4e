package main

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"muster/roles"
)

// advice is what a human has to decide about a pair, with the commands that do it; nil when nothing.
func advice(v roles.PairView, now time.Time) []string {
	var out []string
	if v.State == roles.PairSplit {
		out = append(out, splitAdvice(v, now)...)
	}
	if h, ok := survivor(v, now); ok {
		out = append(out, loneAdvice(v, h, now)...)
	}
	for _, h := range v.Halves {
		if h.Phase == roles.PhaseRefused && h.Carries != "" && !silent(h, now) && v.Claims[h.Slot] == "" {
			out = append(out, "",
				fmt.Sprintf("%s may not use the disk %s: it carries %s.", h.Slot, diskName(h), h.Carries),
				"If nobody needs that, give the disk to the pair; all that is on it is erased:",
				fmt.Sprintf("    muster storage claim %s --disk %s --erase", h.Slot, shellWord(cmp.Or(h.Serial, h.Disk))))
		}
	}
	return out
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:+@,=-]+$`)

// shellWord is s as one word of a command that people copy: a disk says any serial number.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// diskName is a half's disk for a sentence: DATA-1 (/dev/vdb, 1.2 GiB).
func diskName(h roles.HalfView) string {
	switch {
	case h.Serial == "" || h.Serial == h.Disk:
		return fmt.Sprintf("%s (%s)", h.Disk, sizeText(h.Size))
	case h.Disk == "":
		return fmt.Sprintf("%s (%s)", h.Serial, sizeText(h.Size))
	}
	return fmt.Sprintf("%s (%s, %s)", h.Serial, h.Disk, sizeText(h.Size))
}

// splitAdvice says what is known of a split, and which command keeps which side.
func splitAdvice(v roles.PairView, now time.Time) []string {
	if v.Keep != "" {
		return []string{"", fmt.Sprintf("An operator has decided for %s; %s takes its data as soon as both are there.", v.Keep, other(v, v.Keep).Slot)}
	}
	out := []string{"", "Both halves were written since they parted. Nothing is discarded by itself:"}
	for _, h := range v.Halves {
		out = append(out, "  "+h.Slot+": "+sideText(v, h, now))
	}
	out = append(out, partedText(v, now), "Decide whose data stay. What the other one wrote since then is lost:")
	for _, h := range v.Halves {
		out = append(out, fmt.Sprintf("    muster storage keep %s    # and discard what only %s wrote", h.Slot, other(v, h.Slot).Slot))
	}
	return out
}

// sideText is what is known of one side of a split.
func sideText(v roles.PairView, h roles.HalfView, now time.Time) string {
	s := cmp.Or(h.DiskState, "its data are not known")
	if h.Role != "" {
		s += ", " + h.Role
	}
	switch {
	case h.Slot == v.Active:
		s += fmt.Sprintf(", active since %s (%s)", stamp(v.At), age(now, v.At))
	case h.Slot == v.Before:
		s += fmt.Sprintf(", was active until %s (%s ago)", stamp(v.At), age(now, v.At))
	}
	if h.Active {
		s += ", serves now"
	}
	if h.Capacity > 0 {
		s += ", " + volumeText(h)
	}
	if silent(h, now) {
		s += ", silent"
	}
	return s
}

// partedText says since when the sides of a split differ, as far as that is known.
func partedText(v roles.PairView, now time.Time) string {
	switch {
	case v.Outdated != "":
		return fmt.Sprintf("They differ since %s (%s ago): %s said then that it goes on without %s.", stamp(v.OutdatedFrom), age(now, v.OutdatedFrom), v.OutdatedBy, v.Outdated)
	case v.Before != "":
		return fmt.Sprintf("They differ since the last failover at the latest, %s (%s ago).", stamp(v.At), age(now, v.At))
	}
	return "Since when they differ is not known here: muster events --node " + v.Halves[0].Slot + " shows when each was there."
}

// survivor is the one half that is there, and could serve, while the pair is down and the other one is not there.
func survivor(v roles.PairView, now time.Time) (h roles.HalfView, ok bool) {
	if v.State != roles.PairDown || v.Made.IsZero() || len(v.Halves) != 2 {
		return h, false
	}
	for i, h := range v.Halves {
		o := v.Halves[1-i]
		if holds(h, now) && !holds(o, now) {
			return h, true
		}
	}
	return h, false
}

// holds reports whether a half is there with the pair's data.
func holds(h roles.HalfView, now time.Time) bool {
	there := h.Phase == roles.PhaseReady || h.Phase == roles.PhaseCluster
	return there && !silent(h, now) && h.DiskState != "" && h.DiskState != "Diskless"
}

// takeover is how long a failover may last before a human should think about it.
const takeover = 2 * time.Minute

// loneAdvice says what a half that is up alone waits for, and the command by which it goes on.
func loneAdvice(v roles.PairView, h roles.HalfView, now time.Time) []string {
	peer := other(v, h.Slot)
	name := peer.Slot
	switch {
	case v.Promoted == h.Slot:
		return []string{"", fmt.Sprintf("%s goes on alone, as an operator decided %s ago; it is about to start.", h.Slot, age(now, v.PromotedAt))}
	case h.DiskState == "Inconsistent":
		return []string{"",
			fmt.Sprintf("%s is up alone, and what it has is not a whole copy: it was syncing when %s went away. Only %s, or its", h.Slot, name, name),
			"disk in another machine, has the data: switch that on. If it is lost, restore a backup."}
	case peer.Fencing == "" && now.Sub(peer.Heard) < takeover:
		return []string{"", fmt.Sprintf("%s was there %s ago: %s is about to take over. That needs no human.", name, age(now, peer.Heard), h.Slot)}
	case peer.Fencing == "" && peer.State == roles.StateBooting:
		return []string{"", fmt.Sprintf("%s waits for %s, which is booting (muster node boot %s --follow). That needs no human.", h.Slot, name, name)}
	}
	why := fmt.Sprintf("%s is up alone and waits for %s: it cannot know whether %s has written something that it has not.", h.Slot, name, name)
	if v.Outdated == h.Slot {
		why = fmt.Sprintf("%s is up alone and waits for %s, which has newer data.", h.Slot, name)
	}
	out := []string{"", why}
	if h.Phase == roles.PhaseCluster && !h.Quorate {
		out = append(out, "It has no quorum: it needs the third vote, corosync-qnetd on this boot server (muster doctor), or the other half.")
	}
	out = append(out, fmt.Sprintf("Switch %s on (muster node power %s on): both find out who has the newest data, and go on by themselves.", name, name))
	if peer.Fencing == "" {
		return append(out, fmt.Sprintf("If %s is dead for good, or may not be waited for, go on with the data of %s:", name, h.Slot),
			"    muster storage promote "+h.Slot, lossText(v, h.Slot, now))
	}
	return append(out, fmt.Sprintf("%s does not take over while %s might run, and its power cannot be cut from here. If it is dead for good, or", h.Slot, name),
		fmt.Sprintf("may not be waited for, pull its plug, and go on with the data of %s:", h.Slot),
		"    muster storage promote "+h.Slot+" --peer-is-off", lossText(v, h.Slot, now))
}

// lossText says what is lost when a pair goes on with the data of one half.
func lossText(v roles.PairView, slot string, now time.Time) string {
	peer := other(v, slot)
	switch {
	case v.Outdated == slot:
		return fmt.Sprintf("Then everything is lost that %s wrote after %s (%s ago): it said then that the data of %s are not the newest.",
			cmp.Or(v.OutdatedBy, peer.Slot), stamp(v.OutdatedFrom), age(now, v.OutdatedFrom), slot)
	case v.Outdated == peer.Slot && v.OutdatedBy == slot:
		return fmt.Sprintf("As far as is known nothing is lost then: since %s (%s ago) only %s has written.", stamp(v.OutdatedFrom), age(now, v.OutdatedFrom), slot)
	}
	return fmt.Sprintf("What only %s has is lost then: whatever it wrote while %s was away.", peer.Slot, slot)
}
