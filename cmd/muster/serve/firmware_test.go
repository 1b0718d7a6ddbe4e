package serve

import (
	"encoding/binary"
	"testing"
	"time"

	"muster/dhcpd/lease"
)

func TestFirmware(t *testing.T) {
	var f firmware
	a, b, at := lease.MAC{2, 1}, lease.MAC{2, 2}, time.Unix(1000, 0)
	f.spoke(a, at)
	if !f.runs(a, at.Add(firmwareTime)) || f.runs(b, at) {
		t.Error("the machine that spoke is not the one that is known")
	}
	if f.runs(a, at.Add(firmwareTime+1)) {
		t.Error("it is known for ever")
	}
	f.left(a)
	if f.runs(a, at) {
		t.Error("its operating system is taken for firmware")
	}
}

// TestFirmwareIsBounded: strangers cannot fill the memory, and machines come in again once they are gone.
func TestFirmwareIsBounded(t *testing.T) {
	var f firmware
	at := time.Unix(1000, 0)
	mac := func(i int) (m lease.MAC) {
		binary.BigEndian.PutUint32(m[2:], uint32(i))
		return m
	}
	for i := range maxFirmware + 1 {
		f.spoke(mac(i), at)
	}
	f.spoke(mac(0), at.Add(time.Minute))
	if len(f.seen) != maxFirmware || f.runs(mac(maxFirmware), at) || !f.runs(mac(0), at.Add(firmwareTime+time.Second)) {
		t.Errorf("%d machines are known", len(f.seen))
	}
	later := at.Add(firmwareTime + time.Second)
	f.spoke(mac(maxFirmware), later)
	if !f.runs(mac(maxFirmware), later) || len(f.seen) != 2 {
		t.Errorf("%d machines are known, want the last and the one that spoke again", len(f.seen))
	}
}
