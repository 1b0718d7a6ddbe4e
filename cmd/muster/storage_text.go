package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"muster/roles"
)

// silence is after what time a half that reports every few seconds counts as silent.
const silence = 10 * time.Second

func printPairs(w io.Writer, all []roles.PairView, now time.Time) {
	if len(all) == 0 {
		fmt.Fprintln(w, "no storage pairs: a pool with pair: in rack.yaml is one")
	}
	for i, v := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		printPair(w, v, now)
	}
}

// printPair writes a pair: what is wrong, how it is, its halves, and what a human has to decide.
func printPair(w io.Writer, v roles.PairView, now time.Time) {
	g := newGrid()
	g.field("pair", fmt.Sprintf("%s is %s", v.Pool, headline(v)))
	for _, a := range v.Alerts {
		g.field("ALERT", a)
	}
	g.field("address", addrText(v.Address)+servedText(v, now))
	there := slices.DeleteFunc(slices.Clone(v.Halves), func(h roles.HalfView) bool { return silent(h, now) })
	for _, h := range there {
		g.field("sync", syncText(h))
	}
	g.field("votes", votesText(there))
	g.field("failover", failoverText(v, now))
	for _, h := range there {
		g.field("volume", volumeText(h))
		g.field("images", strings.Join(h.Images, " "))
	}
	g.field("verify", verifyText(v, now))
	g.field("backup", backupText(v, now))
	g.field("promoted", promotedText(v, now))
	g.print(w)
	fmt.Fprintln(w)
	printHalves(w, v, now)
	for _, line := range advice(v, now) {
		fmt.Fprintln(w, strings.TrimRight(printable(line), " "))
	}
}

// headline is the state of a pair with its reason, unless an alert tells that.
func headline(v roles.PairView) string {
	if v.Why == "" || strings.Contains(strings.Join(v.Alerts, "\n"), v.Why) {
		return v.State
	}
	return v.State + ": " + v.Why
}

func servedText(v roles.PairView, now time.Time) string {
	for _, h := range v.Halves {
		if h.Active && v.Serving && !silent(h, now) {
			return ", served by " + h.Slot
		}
	}
	return ", not served"
}

// syncText is how far a half's resync is: only one that runs has a percentage.
func syncText(h roles.HalfView) string {
	// Both sides count the same resync; it is told of the one that gets the data.
	if h.Synced == 0 && h.Left == 0 || h.Connection == "SyncSource" || h.Connection == "VerifyS" {
		return ""
	}
	s := fmt.Sprintf("%s %s %.1f %%", h.Slot, bar(h.Synced), h.Synced)
	if h.Left > 0 {
		s += ", " + short(time.Duration(h.Left)*time.Second) + " left"
	}
	return s
}

// bar is a percentage as a picture, of characters that a serial console has too.
func bar(percent float64) string {
	const width = 20
	n := min(max(int(percent*width/100), 0), width)
	return "[" + strings.Repeat("#", n) + strings.Repeat("-", width-n) + "]"
}

// votesText says which of the halves that are there may act, and whether they hear the boot server's third vote.
func votesText(there []roles.HalfView) string {
	var have, lack []string
	third := false
	for _, h := range there {
		switch {
		case h.Phase != roles.PhaseCluster:
		case h.Quorate:
			have = append(have, h.Slot)
		default:
			lack = append(lack, h.Slot)
		}
		third = third || h.QDevice
	}
	if len(have)+len(lack) == 0 {
		return ""
	}
	var out []string
	if len(have) > 0 {
		out = append(out, "quorum at "+strings.Join(have, " and "))
	}
	if len(lack) > 0 {
		out = append(out, "NO quorum at "+strings.Join(lack, " and "))
	}
	vote := "the third vote (corosync-qnetd) is NOT heard"
	if third {
		vote = "the third vote (corosync-qnetd) is heard"
	}
	return strings.Join(append(out, vote), ", ")
}

func failoverText(v roles.PairView, now time.Time) string {
	switch {
	case v.At.IsZero():
		return ""
	case v.Before == "":
		return fmt.Sprintf("none; %s is active since %s (%s)", v.Active, stamp(v.At), age(now, v.At))
	}
	s := fmt.Sprintf("%s → %s, %s ago (%s)", v.Before, v.Active, age(now, v.At), stamp(v.At))
	if v.Took > 0 {
		s += ", not served for " + pauseText(time.Duration(v.Took))
	}
	return s
}

// pauseText is how long a failover took: tenths of a second while that matters.
func pauseText(d time.Duration) string {
	if d < time.Minute {
		return seconds(d)
	}
	return short(d)
}

func volumeText(h roles.HalfView) string {
	if h.Capacity == 0 {
		return ""
	}
	return fmt.Sprintf("%s of %s used (%d %%)", sizeText(h.Used), sizeText(h.Capacity), h.Used*100/h.Capacity)
}

// verifyText is the outcome of the last comparison of both disks, and that one was asked for since.
func verifyText(v roles.PairView, now time.Time) string {
	outcome := ""
	var ended time.Time
	for _, h := range v.Halves {
		at, rest, _ := strings.Cut(h.Verify, ": ")
		if t, err := time.Parse(time.RFC3339, at); err == nil && t.After(ended) {
			ended, outcome = t, fmt.Sprintf("%s, %s ago (%s)", rest, age(now, t), stamp(t))
		} else if outcome == "" {
			outcome = h.Verify
		}
	}
	if v.Verify.After(ended) {
		outcome = strings.TrimSuffix(fmt.Sprintf("asked for %s ago; before: %s", age(now, v.Verify), outcome), "; before: ")
	}
	return outcome
}

// backupText is the latest backup, and that one has failed since.
func backupText(v roles.PairView, now time.Time) string {
	out := "none that this server made"
	switch b := v.Backup; {
	case b.At.IsZero() && v.Made.IsZero() && v.BackupFailed.At.IsZero():
		return "" // nothing is on it
	case !b.At.IsZero():
		out = fmt.Sprintf("whole, %s ago (%s), %s in %s", age(now, b.At), stamp(b.At), sizeText(b.Size), pauseText(time.Duration(b.Took)))
		if b.To != "" {
			out += ", to " + b.To
		}
	}
	if f := v.BackupFailed; !f.At.IsZero() {
		out += fmt.Sprintf("; FAILED %s ago: %s", age(now, f.At), f.Why)
	}
	return out
}

func promotedText(v roles.PairView, now time.Time) string {
	if v.Promoted == "" {
		return ""
	}
	return fmt.Sprintf("%s, by an operator, %s ago (%s)", v.Promoted, age(now, v.PromotedAt), stamp(v.PromotedAt))
}

// printHalves writes the table of the halves, and below it what is to be said of each.
func printHalves(w io.Writer, v roles.PairView, now time.Time) {
	g := newGrid("SLOT", "NODE", "STATE", "HALF", "DATA", "LINK", "FENCING", "DISK", "HEARD")
	for _, h := range v.Halves {
		node := ""
		if !h.Node.IsZero() {
			node = h.Node.String()
		}
		heard := "never"
		if !h.Heard.IsZero() {
			heard = age(now, h.Heard) + " ago"
		}
		data, link := h.DiskState, h.Connection
		if silent(h, now) {
			data, link = "", "" // what it said last is not how it is
		}
		g.row(h.Slot, node, string(h.State), doing(v, h, now), data, link, fencingText(h, now), diskText(h), heard)
	}
	g.print(w)
	for _, h := range v.Halves {
		for _, s := range remarks(v, h, now) {
			fmt.Fprintln(w, printable(h.Slot+": "+s))
		}
	}
}

// doing is what a half does for the pair, in a word.
func doing(v roles.PairView, h roles.HalfView, now time.Time) string {
	switch {
	case silent(h, now):
		return "silent"
	case h.Active:
		return "active"
	case h.Phase == roles.PhaseRefused:
		return "refused"
	case h.Standby || standby(v, h.Slot):
		return "maintenance"
	case h.Phase == roles.PhaseCluster:
		return "passive"
	}
	return h.Phase
}

// silent reports whether a half has not spoken for longer than it should.
func silent(h roles.HalfView, now time.Time) bool { return now.Sub(h.Heard) > silence }

// standby reports whether an operator took a half out of service.
func standby(v roles.PairView, slot string) bool { return slices.Contains(v.Standby, slot) }

func fencingText(h roles.HalfView, now time.Time) string {
	switch {
	case h.FencingAt.IsZero():
		return "not tested"
	case h.Fencing != "":
		return "FAILS, " + age(now, h.FencingAt) + " ago"
	}
	return "works, " + age(now, h.FencingAt) + " ago"
}

func diskText(h roles.HalfView) string {
	if h.Disk == "" && h.Serial == "" {
		return ""
	}
	s := cmp.Or(h.Serial, h.Disk)
	if h.Size > 0 {
		s += ", " + sizeText(h.Size)
	}
	return s
}

// remarks are what is to be said of a half, a sentence each, if the pair's own sentences have not said it.
func remarks(v roles.PairView, h roles.HalfView, now time.Time) []string {
	var out []string
	said := strings.Join(append([]string{v.Why}, v.Alerts...), "\n")
	if h.Why != "" && !strings.Contains(said, h.Why) {
		out = append(out, h.Why)
	}
	if h.Fencing != "" && !strings.Contains(said, h.Fencing) {
		out = append(out, "its power cannot be cut: "+h.Fencing)
	}
	if t, ok := v.Fenced[h.Slot]; ok {
		out = append(out, fmt.Sprintf("switched off by the other half %s ago; it is switched on again when that one serves", age(now, t)))
	}
	if d := v.Claims[h.Slot]; d != "" {
		out = append(out, "an operator gave it the disk "+d+", with all that is on it")
	}
	if v.Outdated == h.Slot {
		out = append(out, fmt.Sprintf("its data are not the newest, said %s %s ago (%s)", cmp.Or(v.OutdatedBy, "the other half"), age(now, v.OutdatedFrom), stamp(v.OutdatedFrom)))
	}
	return append(out, h.Errors...)
}
