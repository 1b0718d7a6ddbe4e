package pair

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// cluster is what Corosync and Pacemaker say.
type cluster struct {
	joined, quorate, qdevice, standby bool
	// nodes are those that Corosync sees; 0 where it does not run.
	nodes int
}

// cluster asks them. Each program costs a slow machine a second, so the daemon asks rarely.
func (m *machine) cluster(ctx context.Context, slot string) cluster {
	// It fails, with its output, where there is no quorum.
	out, _ := m.run(ctx, 10*time.Second, "corosync-quorumtool", "-s")
	c := parseQuorum(out)
	nodes, err := m.run(ctx, 20*time.Second, "crm_mon", "--one-shot", "--output-as=xml", "--include=none,nodes")
	if err != nil {
		c.joined = false
		return c
	}
	online, standby := parseNodes(nodes, slot)
	c.joined, c.standby = online, standby
	return c
}

// parseQuorum reads what corosync-quorumtool -s prints.
func parseQuorum(out string) cluster {
	var c cluster
	for line := range strings.Lines(out) {
		k, v, _ := strings.Cut(line, ":")
		v = strings.TrimSpace(v)
		switch strings.TrimSpace(k) {
		case "Quorate":
			c.quorate = v == "Yes"
		case "Nodes":
			c.nodes = int(min(max(0, number(v)), 1<<10))
		case "Flags":
			// "Quorate Qdevice"; the flag is there while the device is registered.
			c.quorate = c.quorate || hasWord(v, "Quorate")
		}
		// In the list of members the third vote has the id 0; it has none while nobody hears from it.
		if f := strings.Fields(line); len(f) >= 3 && f[len(f)-1] == "Qdevice" {
			if id, err := strconv.ParseUint(f[0], 0, 32); err == nil && id == 0 {
				c.qdevice = f[1] != "0"
			}
		}
	}
	return c
}

func hasWord(s, word string) bool {
	for w := range strings.FieldsSeq(s) {
		if w == word {
			return true
		}
	}
	return false
}

// parseNodes finds a node in what crm_mon prints as XML.
func parseNodes(out, slot string) (online, standby bool) {
	for rest := out; ; {
		_, tag, ok := strings.Cut(rest, "<node ")
		if !ok {
			return false, false
		}
		tag, rest, _ = strings.Cut(tag, ">")
		if attribute(tag, "name") == slot {
			// Pacemaker counts one that is still joining as standing by.
			return attribute(tag, "online") == "true", attribute(tag, "standby") == "true" && attribute(tag, "pending") != "true"
		}
	}
}

func attribute(tag, name string) string {
	_, v, ok := strings.Cut(" "+tag, " "+name+`="`)
	if !ok {
		return ""
	}
	v, _, _ = strings.Cut(v, `"`)
	return v
}
