package e2e

import (
	"bufio"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/tests/rack"
)

// recorder is the far end of the web machine's writer: who is told that a record is on the disks, and therefore must
// never be told otherwise.
type recorder struct {
	mu sync.Mutex
	// acked are the records in the order in which they were acknowledged; errs is what the writer complained of.
	acked []ack
	errs  []string
}

// ack is one acknowledged record.
type ack struct {
	record string
	at     time.Time
}

// newRecorder listens for the writer until the test ends.
func newRecorder(t *testing.T, r *rack.Rack) *recorder {
	t.Helper()
	ln, err := r.Listen(t.Context(), "tcp", r.Server().Addr().String()+":9000")
	if err != nil {
		t.Fatal(err)
	}
	rec := &recorder{}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go rec.listen(conn) // ends with the writer's machine, or the rack
		}
	}()
	return rec
}

func (r *recorder) listen(conn net.Conn) {
	defer conn.Close()
	for in := bufio.NewScanner(conn); in.Scan(); {
		r.told(in.Text(), time.Now())
	}
}

func (r *recorder) told(line string, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.HasPrefix(line, "error ") {
		r.errs = append(r.errs, line)
	} else {
		r.acked = append(r.acked, ack{line, at})
	}
}

// count is how many records have been acknowledged.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.acked)
}

// goesOn waits until n more records have been acknowledged.
func (r *recorder) goesOn(t *testing.T, n int) {
	t.Helper()
	want := r.count() + n
	for end := time.Now().Add(patience); r.count() < want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no record was acknowledged for long: %d of %d; the writer said %q", r.count(), want, r.errs)
		}
	}
}

// stall is the longest time without an acknowledgement that ended after from, in seconds.
func (r *recorder) stall(from time.Time) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var longest time.Duration
	for i := 1; i < len(r.acked); i++ {
		if gap := r.acked[i].at.Sub(r.acked[i-1].at); r.acked[i].at.After(from) && gap > longest {
			longest = gap
		}
	}
	return longest.Seconds()
}

// check compares what is in the file with what was acknowledged, and gives the number of acknowledged records that
// are not there, and everything that is wrong.
func (r *recorder) check(file string) (lost int, wrong []string) {
	r.mu.Lock()
	acked := append([]ack(nil), r.acked...)
	wrong = append(wrong, r.errs...)
	r.mu.Unlock()
	there := map[int]string{}
	last := 0
	for line := range strings.Lines(file) {
		n, err := number(line)
		switch record := strings.TrimSuffix(line, "\n"); {
		case err != nil:
			wrong = append(wrong, err.Error())
		case n != last+1:
			wrong = append(wrong, fmt.Sprintf("record %d comes after %d", n, last))
			fallthrough
		default:
			there[n], last = record, n
		}
	}
	last = 0
	for _, a := range acked {
		n, err := number(a.record)
		if err != nil {
			wrong = append(wrong, err.Error())
			continue
		}
		if n != last+1 {
			wrong = append(wrong, fmt.Sprintf("record %d was acknowledged after %d", n, last))
		}
		last = n
		if got := there[n]; got != a.record {
			lost++
			wrong = append(wrong, fmt.Sprintf("record %q was acknowledged, the file has %q", a.record, got))
		}
	}
	if len(acked) > 0 {
		if first, last := writers(acked[0].record), writers(acked[len(acked)-1].record); first != last {
			wrong = append(wrong, fmt.Sprintf("the machine's boot and processes were %q and are %q", first, last))
		}
	}
	return lost, wrong
}

// number is a record's.
func number(record string) (int, error) {
	first, rest, _ := strings.Cut(record, " ")
	n, err := strconv.Atoi(first)
	if err != nil || len(strings.Fields(rest)) != 3 {
		return 0, fmt.Errorf("%q is no record", record)
	}
	return n, nil
}

// writers are who wrote a record: boot, nginx's process, the writer's.
func writers(record string) string {
	_, rest, _ := strings.Cut(record, " ")
	return rest
}

// TestRecorder: what a recorder finds wrong with a file, so that it is known to find it.
func TestRecorder(t *testing.T) {
	record := func(n int) string { return fmt.Sprintf("%d boot 7 8", n) }
	for _, tt := range []struct {
		name  string
		acked []string
		file  string
		lost  int
		wrong string // "" for nothing
	}{
		{"all there", []string{record(1), record(2)}, record(1) + "\n" + record(2) + "\n" + record(3) + "\n", 0, ""},
		{"one lost", []string{record(1), record(2)}, record(1) + "\n", 1, "was acknowledged, the file has"},
		{"another in its place", []string{record(1), record(2)}, record(1) + "\n2 boot 7 9\n", 1, "was acknowledged, the file has"},
		{"a hole", []string{record(1)}, record(1) + "\n" + record(3) + "\n", 0, "record 3 comes after 1"},
		{"twice", []string{record(1)}, record(1) + "\n" + record(1) + "\n", 0, "record 1 comes after 1"},
		{"zeroes", []string{record(1)}, record(1) + "\n\x00\x00\n", 0, "is no record"},
		{"acknowledged twice", []string{record(1), record(1)}, record(1) + "\n", 0, "record 1 was acknowledged after 1"},
		{"an error", []string{"error " + record(1) + ": Input/output error"}, "", 0, "Input/output error"},
		{"another nginx", []string{record(1), "2 boot 9 8"}, record(1) + "\n2 boot 9 8\n", 0, "processes were"},
	} {
		rec := &recorder{}
		for _, line := range tt.acked {
			rec.told(line, time.Now())
		}
		lost, wrong := rec.check(tt.file)
		if said := strings.Join(wrong, "; "); lost != tt.lost || (tt.wrong == "") != (said == "") || !strings.Contains(said, tt.wrong) {
			t.Errorf("%s: %d lost, wrong: %s; want %d and %q", tt.name, lost, said, tt.lost, tt.wrong)
		}
	}
	at := time.Now()
	rec := &recorder{acked: []ack{{"", at}, {"", at.Add(9 * time.Second)}, {"", at.Add(10 * time.Second)}, {"", at.Add(13 * time.Second)}}}
	if got := rec.stall(at.Add(9 * time.Second)); got != 3 {
		t.Errorf("stall of %g s, want 3", got)
	}
	if got := rec.stall(at.Add(time.Second)); got != 9 {
		t.Errorf("stall of %g s, want the 9 s that began before", got)
	}
}
