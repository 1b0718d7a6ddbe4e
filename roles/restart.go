package roles

import (
	"sync"
	"time"
)

// agentPoll is how long a running system's agent may be silent before it counts as gone: its long polls end
// after 25 s at the latest, and it repeats one that failed.
const agentPoll = 90 * time.Second

// agents remembers when each node's own agent last spoke. It is not stored: an agent that lives speaks again
// within half a minute of a server's start. The zero value is ready.
type agents struct {
	mu sync.Mutex
	at map[MAC]time.Time
}

// noteAgent notes that the running system's agent of mac spoke at this time.
func (r *Registry) noteAgent(mac MAC, at time.Time) {
	r.agents.mu.Lock()
	defer r.agents.mu.Unlock()
	if r.agents.at == nil {
		r.agents.at = map[MAC]time.Time{}
	}
	if at.After(r.agents.at[mac]) {
		r.agents.at[mac] = at
	}
}

// agentAlive reports whether the running system's agent of mac spoke lately.
func (r *Registry) agentAlive(mac MAC) bool {
	r.agents.mu.Lock()
	defer r.agents.mu.Unlock()
	at, ok := r.agents.at[mac]
	return ok && r.now().Sub(at) <= agentPoll
}
