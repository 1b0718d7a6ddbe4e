package main

import (
	"fmt"
	"time"
)

// age is how long ago t was, in at most two units: 3m12s, 2d4h. Empty for the zero time.
func age(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return short(now.Sub(t))
}

// short writes a duration in at most two units; what is negative (clocks differ) is 0s.
func short(d time.Duration) string {
	d = max(d, 0)
	s := int(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}

// stamp is a moment for people, in UTC like the log.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// seconds is a duration within a boot: 34.2s.
func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }
