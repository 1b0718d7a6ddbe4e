package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/roles"
)

// pairedRack has one storage pair, and keeps what it was asked to do.
type pairedRack struct {
	Rack
	asked []string
}

var paired = roles.PairView{
	Pair:  roles.Pair{Pool: "storage", Made: start, Active: "storage-01", Took: roles.Duration(17 * time.Second)},
	State: roles.PairWhole, Serving: true,
	Halves: []roles.HalfView{{Slot: "storage-01", Node: macA, Half: roles.Half{Phase: roles.PhaseCluster, Active: true}}, {Slot: "storage-02"}},
}

func (p *pairedRack) Pairs() ([]roles.PairView, error) { return []roles.PairView{paired}, nil }

func (p *pairedRack) Pair(pool string) (roles.PairView, error) {
	if pool != "storage" {
		return roles.PairView{}, fmt.Errorf("pool %s is no storage pair: %w", pool, fs.ErrNotExist)
	}
	return paired, nil
}

func (p *pairedRack) ask(format string, args ...any) (roles.PairView, error) {
	p.asked = append(p.asked, fmt.Sprintf(format, args...))
	return paired, nil
}

func (p *pairedRack) ClaimDisk(_ context.Context, slot, disk string) (roles.PairView, error) {
	return p.ask("claim %s %s", slot, disk)
}

func (p *pairedRack) PromoteHalf(_ context.Context, slot string, off bool) (roles.PairView, error) {
	return p.ask("promote %s %v", slot, off)
}

func (p *pairedRack) KeepHalf(_ context.Context, slot string) (roles.PairView, error) {
	return p.ask("keep %s", slot)
}

func (p *pairedRack) MaintainHalf(_ context.Context, slot string, on bool) (roles.PairView, error) {
	return p.ask("maintenance %s %v", slot, on)
}

func (p *pairedRack) VerifyPair(_ context.Context, pool string) (roles.PairView, error) {
	return p.ask("verify %s", pool)
}

func TestPairs(t *testing.T) {
	c := client(t, &Server{Rack: &pairedRack{Rack: declared(t)}})
	all, err := c.Pairs(t.Context())
	if d := cmp.Diff([]roles.PairView{paired}, all, cmpopts.EquateComparable(netip.Addr{})); d != "" || err != nil {
		t.Errorf("Pairs: %v, -want +got:\n%s", err, d)
	}
	if v, err := c.Pair(t.Context(), "storage"); err != nil || v.Pool != "storage" || v.Took != paired.Took {
		t.Errorf("Pair: %+v, %v", v, err)
	}
	if _, err := c.Pair(t.Context(), "web"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Pair of a pool that is none: %v", err)
	}
}

// TestChangesOfPairs: each reaches the rack as it was meant.
func TestChangesOfPairs(t *testing.T) {
	rack := &pairedRack{Rack: declared(t)}
	c := client(t, &Server{Rack: rack})
	ctx := t.Context()
	const one = "storage-01"
	for i, do := range []func() (roles.PairView, error){
		func() (roles.PairView, error) { return c.ClaimDisk(ctx, "storage", ClaimRequest{one, "DATA-1", one}) },
		func() (roles.PairView, error) { return c.PromoteHalf(ctx, "storage", PromoteRequest{one, false, one}) },
		func() (roles.PairView, error) { return c.PromoteHalf(ctx, "storage", PromoteRequest{one, true, one}) },
		func() (roles.PairView, error) { return c.KeepHalf(ctx, "storage", KeepRequest{one, one}) },
		func() (roles.PairView, error) {
			return c.MaintainHalf(ctx, "storage", MaintenanceRequest{one, true})
		},
		func() (roles.PairView, error) { return c.VerifyPair(ctx, "storage") },
	} {
		if v, err := do(); err != nil || v.Pool != "storage" {
			t.Errorf("%d: %+v, %v", i, v, err)
		}
	}
	want := []string{
		"claim storage-01 DATA-1", "promote storage-01 false", "promote storage-01 true", "keep storage-01",
		"maintenance storage-01 true", "verify storage",
	}
	if d := cmp.Diff(want, rack.asked); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// TestLossesAreConfirmed: what loses data names its slot twice, and one of this pair; else nothing happens.
func TestLossesAreConfirmed(t *testing.T) {
	rack := &pairedRack{Rack: declared(t)}
	c := client(t, &Server{Rack: rack})
	ctx := t.Context()
	for _, confirm := range []string{"", "storage-02", "yes"} {
		_, claim := c.ClaimDisk(ctx, "storage", ClaimRequest{"storage-01", "DATA-1", confirm})
		_, promote := c.PromoteHalf(ctx, "storage", PromoteRequest{"storage-01", true, confirm})
		_, keep := c.KeepHalf(ctx, "storage", KeepRequest{"storage-01", confirm})
		for _, err := range []error{claim, promote, keep} {
			if !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), `set confirm to "storage-01"`) || !strings.Contains(err.Error(), "lost") {
				t.Errorf("confirm %q: %v", confirm, err)
			}
		}
	}
	if _, err := c.ClaimDisk(ctx, "storage", ClaimRequest{"storage-01", "", "storage-01"}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no disk: %v", err)
	}
	for _, slot := range []string{"", "web-01"} {
		_, claim := c.ClaimDisk(ctx, "storage", ClaimRequest{slot, "DATA-1", slot})
		_, keep := c.KeepHalf(ctx, "storage", KeepRequest{slot, slot})
		_, maintain := c.MaintainHalf(ctx, "storage", MaintenanceRequest{slot, true})
		_, promote := c.PromoteHalf(ctx, "storage", PromoteRequest{slot, false, slot})
		for _, err := range []error{claim, keep, maintain, promote} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("slot %q: %v", slot, err)
			}
		}
	}
	if _, err := c.KeepHalf(ctx, "web", KeepRequest{"web-01", "web-01"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a pool that is no pair: %v", err)
	}
	if len(rack.asked) > 0 {
		t.Errorf("the rack was asked: %v", rack.asked)
	}
}

// TestPairsAreNeverUnchanged: what the halves say is newer than the revision.
func TestPairsAreNeverUnchanged(t *testing.T) {
	s := &Server{Rack: &pairedRack{Rack: declared(t)}}
	first := do(s, "GET", "/v1/storage")
	rev := strings.Trim(strings.TrimPrefix(first.Header().Get("ETag"), "W/"), `"`)
	if again := do(s, "GET", "/v1/storage?rev="+rev); again.Code != 200 || again.Body.String() != first.Body.String() || rev == "" {
		t.Errorf("rev=%s: %d %s", rev, again.Code, again.Body)
	}
	if w := do(s, "GET", "/v1/storage?rev=x"); w.Code != 400 {
		t.Errorf("rev=x: %d", w.Code)
	}
}

// TestFollowPairs: again and again, until fn has enough.
func TestFollowPairs(t *testing.T) {
	c := client(t, &Server{Rack: &movingRack{Rack: &pairedRack{Rack: declared(t)}}})
	enough := errors.New("enough")
	looks := 0
	err := c.FollowPairs(t.Context(), func(all []roles.PairView) error {
		if looks++; looks == 3 {
			return enough
		}
		if !slices.ContainsFunc(all, func(v roles.PairView) bool { return v.Pool == "storage" }) {
			t.Errorf("got %+v", all)
		}
		return nil
	})
	if looks != 3 || !errors.Is(err, enough) {
		t.Errorf("%d looks, %v", looks, err)
	}
}
