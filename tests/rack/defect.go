package rack

import "errors"

// errPowerless is what the lab's power switches answer while they are broken.
var errPowerless = errors.New("rack: the power switches are out of order")

// Fail breaks a machine: it loses its power and does not come on, until Repair. Its power switch answers as ever,
// like a BMC beside a dead mainboard: switching it on seems to work, and then it is off.
func (m *Machine) Fail() error {
	m.mu.Lock()
	m.broken = true
	m.mu.Unlock()
	return m.Off()
}

// Repair ends Fail. The machine stays off until it is switched on.
func (m *Machine) Repair() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = false
}

// BreakPower makes the lab's API refuse with status 503 to switch a machine or to show whether it is on, until it
// is called with false. The methods of Machine go on working.
func (r *Rack) BreakPower(broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.powerless = broken
	r.log.Info("power switches", "broken", broken)
}

// power says whether the lab's power switches work.
func (r *Rack) power() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.powerless {
		return errPowerless
	}
	return nil
}
