package state_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"muster/dhcpd/lease"
	"muster/roles"
	"muster/roles/state"
	"muster/roles/state/statetest"
)

// bench runs fn over a file and over memory: the difference is the disk.
func bench(b *testing.B, fn func(*testing.B, *state.Store)) {
	b.Run("file", func(b *testing.B) { fn(b, open(b, filepath.Join(b.TempDir(), "state.db"))) })
	b.Run("memory", func(b *testing.B) { fn(b, state.OpenMemory()) })
}

// oneStep is what one step of a boot writes.
func oneStep(tx roles.Tx) error {
	n := statetest.FullNode()
	if err := tx.Nodes().Put(n); err != nil {
		return err
	}
	_, err := tx.Append(roles.Event{Node: n.MAC, Boot: 3, Step: roles.StepKernel, Message: "kernel fetched"})
	return err
}

func BenchmarkUpdate(b *testing.B) {
	bench(b, func(b *testing.B, s *state.Store) {
		update(b, s, statetest.Fill)
		b.ReportAllocs()
		for b.Loop() {
			update(b, s, oneStep)
		}
	})
}

// BenchmarkUpdateTogether has 64 callers at a time, which share commits.
func BenchmarkUpdateTogether(b *testing.B) {
	bench(b, func(b *testing.B, s *state.Store) {
		update(b, s, statetest.Fill)
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := s.Update(b.Context(), oneStep); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkCommitLeases(b *testing.B) {
	for _, n := range []int{1, 32, 256} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bench(b, func(b *testing.B, s *state.Store) {
				all := make([]lease.Lease, 100_000)
				for i := range all {
					all[i] = numberedLease(i)
				}
				if err := s.CommitLeases(b.Context(), all, nil); err != nil {
					b.Fatal(err)
				}
				at := 0
				for b.Loop() {
					at = (at + 7919) % (len(all) - n) // somewhere else each time
					if err := s.CommitLeases(b.Context(), all[at:at+n], nil); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "leases/s")
			})
		})
	}
}

func BenchmarkViewNode(b *testing.B) {
	s := state.OpenMemory()
	update(b, s, statetest.Fill)
	mac := statetest.FullNode().MAC
	b.ReportAllocs()
	for b.Loop() {
		s.View(func(tx roles.Tx) error {
			if _, ok := tx.Nodes().Get(mac); !ok {
				b.Fatal("no node")
			}
			return nil
		})
	}
}

// BenchmarkOpen opens the store of a big, old rack: a full log and 100,000 leases.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "state.db")
	s := open(b, path)
	update(b, s, func(tx roles.Tx) error {
		for i := range roles.EventsKept {
			ev := roles.Event{Node: numberedMAC(i % 500), Boot: uint64(i/20 + 1), Step: roles.StepKernel, Message: "kernel fetched"}
			if _, err := tx.Append(ev); err != nil {
				return err
			}
		}
		return nil
	})
	all := make([]lease.Lease, 100_000)
	for i := range all {
		all[i] = numberedLease(i)
	}
	if err := s.CommitLeases(b.Context(), all, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Close()
		s = open(b, path)
	}
}
