package main

import (
	"testing"
	"time"
)

func TestShort(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{-time.Minute, "0s"},
		{1900 * time.Millisecond, "1s"},
		{59 * time.Second, "59s"},
		{61 * time.Second, "1m01s"},
		{time.Hour, "1h00m"},
		{25*time.Hour + 59*time.Minute, "1d01h"},
	} {
		if got := short(tt.d); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.d, got, tt.want)
		}
	}
	if got := age(time.Now(), time.Time{}); got != "" {
		t.Errorf("age of never: %q", got)
	}
}

func TestSizeText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 99<<20 + 1<<19: "99.5 MiB", 412 << 20: "412 MiB", 3 << 30: "3.0 GiB", 5 << 50: "5.0 PiB",
	} {
		if got := sizeText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestSpeedText(t *testing.T) {
	for n, want := range map[int]string{-1: "", 0: "", 100: "100 Mbit/s", 2500: "2500 Mbit/s", 10000: "10 Gbit/s"} {
		if got := speedText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
