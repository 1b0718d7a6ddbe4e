package roles

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"muster/images"
)

// TestPlanRollout: what a rollout does next, in words. A slot is its state in the rollout and its node:
// state, image, and whether it cannot be restarted.
func TestPlanRollout(t *testing.T) {
	for _, c := range []struct {
		name                 string
		state                RolloutState
		canary, batch, least int
		slots                string
		want                 string // states and acts, ! for a restart, ? for one that is called off
		end                  RolloutState
		why                  string
	}{
		{"the canary", "running", 1, 9, 0, "pending=ready:7 pending=ready:7 pending=ready:7",
			"restarting! pending pending", "running", "waits for web-01 to be ready with web:8"},
		{"two canaries", "running", 2, 9, 0, "pending=ready:7 pending=ready:7 pending=ready:7",
			"restarting! restarting! pending", "running", ""},
		{"a canary is not proven yet", "running", 2, 9, 0, "restarting=ready:8 restarting=booting pending=ready:7",
			"done restarting pending", "running", "waits for web-02"},
		{"a batch after the canary", "running", 1, 2, 0, "restarting=ready:8 pending=ready:7 pending=ready:7 pending=ready:7",
			"done restarting! restarting! pending", "running", "waits for web-02, web-03"},
		{"a batch is bounded by the minimum", "running", 1, 3, 3, "done=ready:8 pending=ready:7 pending=ready:7 pending=ready:7",
			"done restarting! pending pending", "running", ""},
		{"nothing below the minimum", "running", 1, 1, 2, "done=ready:8 pending=ready:7 pending=off",
			"done pending pending", "running", "waits: 2 ready nodes are no more than the pool's minimum, 2 (web-03 is off)"},
		{"a minimum that was raised too far", "running", 1, 1, 3, "done=ready:8 pending=ready:7",
			"done pending", "running", "add a node, or lower size.min"},
		{"it runs the image already", "running", 1, 1, 0, "pending=ready:8 pending=ready:8", "done done", "done", ""},
		{"who is off boots it later", "running", 1, 1, 0, "done=ready:8 pending=off pending=-", "done pending pending", "done", ""},
		{"who boots is waited for", "running", 1, 1, 0, "done=ready:8 pending=booting", "done pending", "running", "waits until web-02 is ready"},
		{"who boots for ever is restarted", "running", 1, 1, 0, "done=ready:8 pending=booting,old", "done restarting!", "running", ""},
		{"who had failed goes last", "running", 1, 1, 0, "pending=failed:7 pending=ready:7", "pending restarting!", "running", ""},
		{"who had failed is restarted where nothing else can", "running", 1, 1, 2, "pending=failed:7 pending=ready:7 pending=ready:7",
			"restarting! pending pending", "running", ""},
		{"who had failed waits while others restart", "running", 1, 2, 1, "pending=failed:7 restarting=booting pending=ready:7 done=ready:8",
			"pending restarting restarting! done", "running", ""},
		{"a failure", "running", 1, 1, 0, "done=ready:8 restarting=failed:8 pending=ready:7",
			"done restarting! pending", "rolling-back", "web-02 failed with web:8: it broke"},
		{"a failure while others restart", "running", 1, 3, 0, "restarting=failed:8 restarting=booting restarting=booting:8 pending=ready:7",
			"restarting! restarting done pending", "rolling-back", "web-01 failed"},
		{"too late", "running", 1, 1, 0, "restarting=booting:8,old pending=ready:7",
			"restarting! pending", "rolling-back", "web-01 was not ready with web:8 within 10m0s: it broke"},
		{"it never began", "running", 1, 1, 0, "restarting=asked,old pending=ready:7",
			"back? pending", "rolling-back", "web-01 was not ready"},
		{"a failure after it was ready", "running", 1, 1, 0, "done=failed:8 pending=ready:7",
			"restarting! pending", "rolling-back", "web-01 failed after it was ready with web:8"},
		{"switched off in the middle", "running", 1, 1, 0, "restarting=off pending=ready:7", "pending restarting!", "running", ""},
		{"a node that cannot be restarted is the last", "running", 1, 1, 0, "pending=ready:7,stuck pending=ready:7",
			"pending restarting!", "running", ""},
		{"a node that cannot be restarted", "running", 1, 1, 0, "done=ready:8 pending=ready:7,stuck",
			"done back", "rolling-back", "web-02 cannot be restarted: nobody answers"},

		{"back, one after the other", "rolling-back", 1, 1, 0, "done=ready:8 done=ready:8 pending=ready:7",
			"restarting! done pending", "rolling-back", "cause; waits for web-01 to be ready with web:7 again"},
		{"back, above the minimum", "rolling-back", 1, 2, 2, "done=ready:8 done=ready:8 pending=ready:7",
			"restarting! done pending", "rolling-back", ""},
		{"back, not below the minimum", "rolling-back", 1, 2, 2, "done=ready:8 done=ready:8 pending=off",
			"done done pending", "rolling-back", "cause; waits: 2 ready nodes"},
		{"back, by itself", "rolling-back", 1, 1, 0, "done=booting restarting=ready:7", "restarting back", "rolling-back", ""},
		{"back at last", "rolling-back", 1, 1, 0, "restarting=ready:7 back=ready:7 pending=ready:7", "back back pending", "rolled-back", "cause"},
		{"a node does not come back", "rolling-back", 1, 1, 0, "restarting=failed:7 back=ready:7", "failed back", "failed",
			"cause; web-01 did not become ready with web:7 again: it broke: repair or replace it"},
		{"a node does not come back, and no other is risked", "rolling-back", 1, 1, 1, "restarting=failed:7 done=ready:8", "failed done", "failed",
			"web-02 still runs web:8"},
		{"back by hand", "rolling-back", 1, 1, 0, "done=ready:8,stuck", "failed", "failed",
			"web-01 cannot be restarted (nobody answers): restart it by hand, and it boots web:7"},
		{"nobody is left", "rolling-back", 1, 1, 0, "restarting=- done=off", "back back", "rolled-back", "cause"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, ro := scene(c.state, c.slots)
			v.Pool.Size.Min, ro.Canary, ro.Batch = c.least, c.canary, c.batch
			got, acts := planRollout(v, ro, later)
			if line := outcome(got, acts); line != c.want || got.State != c.end || !strings.Contains(got.Why, c.why) {
				t.Errorf("%s: %s: %q\nwant %s: %s: %q", line, got.State, got.Why, c.want, c.end, c.why)
			}
			if again, _ := planRollout(v, ro, later); fmt.Sprint(again) != fmt.Sprint(got) {
				t.Errorf("another look gives %v, not %v", again, got)
			}
		})
	}
}

var later = time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)

// scene reads a pool and its rollout from web:7 to web:8.
func scene(state RolloutState, text string) (rolloutView, Rollout) {
	v := rolloutView{Pool: Pool{Name: "web"}}
	ro := Rollout{Pool: "web", From: images.Ref{Name: "web", Version: 7}, Image: images.Ref{Name: "web", Version: 8},
		State: state, Timeout: Duration(10 * time.Minute), Started: later.Add(-time.Hour)}
	if state == RolloutRollingBack {
		ro.Cause = "cause"
	}
	for i, word := range strings.Fields(text) {
		slot, node, _ := strings.Cut(word, "=")
		name, recent := v.Pool.SlotName(i+1), later.Add(-time.Minute)
		if strings.HasSuffix(node, ",old") {
			recent = later.Add(-11 * time.Minute)
		}
		ro.Slots = append(ro.Slots, RolloutSlot{name, slot, recent})
		m := rolloutMember{Slot: name}
		node, flag, _ := strings.Cut(node, ",")
		st, image, _ := strings.Cut(node, ":")
		if flag == "stuck" {
			m.Stuck = "nobody answers"
		}
		switch st {
		case "-":
		case "off":
			m.Off = true
		case "asked":
			m.Node = &Node{State: StateBooting, Restart: "x", Since: recent}
		default:
			m.Node = &Node{State: State(st), Since: recent, Why: "it broke"}
		}
		if image != "" {
			m.Runs, _ = images.ParseRef("web:" + image)
		}
		v.Slots = append(v.Slots, m)
	}
	return v, ro
}

func outcome(ro Rollout, acts []rolloutAct) string {
	var out []string
	for _, s := range ro.Slots {
		word := s.State
		for _, a := range acts {
			switch {
			case a.Slot == s.Name && a.Cancel:
				word += "?"
			case a.Slot == s.Name:
				word += "!"
			}
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}
