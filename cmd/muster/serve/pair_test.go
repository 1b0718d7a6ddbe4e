package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/httpboot/agent"
	"muster/httpboot/agent/pair"
	"muster/roles"
)

// storageRack knows one storage machine, storage-01, and one web machine, and notes what it is asked for.
type storageRack struct {
	asked  []string
	half   roles.Half
	orders roles.PairOrders
	// live says whether the context of the last fencing outlived the caller.
	live bool
}

const (
	storageMAC = "52:54:00:00:00:01"
	webMAC     = "52:54:00:00:00:02"
	rightKey   = "right"
)

func (r *storageRack) note(op string, mac roles.MAC, key string) error {
	r.asked = append(r.asked, op)
	if key != rightKey {
		return fmt.Errorf("wrong key: %w", fs.ErrPermission)
	}
	if mac.String() != storageMAC {
		return fmt.Errorf("no half: %w", fs.ErrInvalid)
	}
	return nil
}

func (r *storageRack) PairReport(_ context.Context, mac roles.MAC, key string, h roles.Half) (roles.PairOrders, error) {
	r.half = h
	return r.orders, r.note("report", mac, key)
}

func (r *storageRack) PairMade(_ context.Context, mac roles.MAC, key string) error {
	return r.note("made", mac, key)
}

func (r *storageRack) PairFence(ctx context.Context, mac roles.MAC, key string, try bool) error {
	r.live = ctx.Err() == nil
	return r.note(fmt.Sprint("fence ", try), mac, key)
}

func (r *storageRack) PairOutdate(_ context.Context, mac roles.MAC, key string) error {
	if err := r.note("outdate", mac, key); err != nil {
		return err
	}
	return fmt.Errorf("yours are older: %w", fs.ErrExist)
}

func (r *storageRack) PairOf(mac roles.MAC, key string) (string, error) {
	return "storage", r.note("pair", mac, key)
}

func TestPairCalls(t *testing.T) {
	rack := &storageRack{orders: roles.PairOrders{Rule: roles.DiskRule{Serial: "DATA-*"}, Start: true, Verify: "v1", Known: "abc"}}
	calls := pairCalls{rack, func(pool, has string) pair.Contents { return pair.Contents{Revision: has + " of " + pool} },
		func(_ context.Context, pool string) (pair.Vote, error) { return pair.Vote{Password: "of " + pool}, nil }, &copies{}}
	ask := func(mac, key, op string, body any) (any, error) {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // who asked is gone
		return calls.answer(ctx, agent.PairCall{MAC: mac, Key: key, Op: op, Body: b})
	}

	r := pair.Report{Phase: pair.PhaseCluster, Serial: "DATA-1", Active: true, Capacity: 7, Images: []string{"web:7"}, Revision: "r1", Why: strings.Repeat("x", 10_000)}
	got, err := ask(storageMAC, rightKey, pair.OpReport, r)
	want := pair.Orders{Rule: pair.Rule{Serial: "DATA-*"}, Start: true, Verify: "v1", Known: "abc", Contents: pair.Contents{Revision: "r1 of storage"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("orders (-want +got), %v:\n%s", err, d)
	}
	if h := rack.half; h.Serial != "DATA-1" || !h.Active || h.Capacity != 7 || len(h.Images) != 1 || len(h.Why) > 1000 {
		t.Errorf("the registry heard %+v", h)
	}
	if v, err := ask(storageMAC, rightKey, pair.OpVote, nil); err != nil || v.(pair.Vote).Password != "of storage" {
		t.Errorf("vote: %v, %v", v, err)
	}
	for op, want := range map[string]string{pair.OpMade: "made", pair.OpFence: "fence false", pair.OpTry: "fence true"} {
		rack.asked = nil
		if _, err := ask(storageMAC, rightKey, op, nil); err != nil || !cmp.Equal(rack.asked, []string{want}) {
			t.Errorf("%s: %v, %v", op, rack.asked, err)
		}
	}
	if !rack.live {
		t.Error("a fencing ends when its caller is gone")
	}
	if _, err := ask(storageMAC, rightKey, pair.OpOutdate, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("outdate: %v", err)
	}

	// Nobody else gets anything.
	for _, op := range []string{pair.OpReport, pair.OpMade, pair.OpFence, pair.OpTry, pair.OpOutdate, pair.OpVote} {
		for _, c := range []struct {
			mac, key string
			want     error
		}{{storageMAC, "wrong", fs.ErrPermission}, {webMAC, rightKey, fs.ErrInvalid}, {"nonsense", rightKey, fs.ErrInvalid}} {
			if got, err := ask(c.mac, c.key, op, pair.Report{}); !errors.Is(err, c.want) {
				t.Errorf("%s of %s with %s: %v, %v", op, c.mac, c.key, got, err)
			}
		}
	}
	for _, body := range []string{"", "7", `{"size": "big"}`} {
		if _, err := calls.answer(t.Context(), agent.PairCall{MAC: storageMAC, Key: rightKey, Op: pair.OpReport, Body: json.RawMessage(body)}); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("report %q: %v", body, err)
		}
	}
	if _, err := ask(storageMAC, rightKey, "reboot the rack", nil); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("unknown: %v", err)
	}
}
