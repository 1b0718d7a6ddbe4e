package tftpd

import (
	"container/heap"
	"time"
)

// alarms are flows by the time when they are to be looked at, the first one in front.
type alarms []*udpFlow

// set gives f an alarm, or moves it.
func (a *alarms) set(f *udpFlow, at time.Time) {
	was := f.alarm
	f.alarm = at
	if was.IsZero() {
		heap.Push(a, f)
		return
	}
	heap.Fix(a, f.place)
}

// clear takes f's alarm away, if it has one.
func (a *alarms) clear(f *udpFlow) {
	if !f.alarm.IsZero() {
		heap.Remove(a, f.place)
		f.alarm = time.Time{}
	}
}

// Len implements heap.Interface.
func (a alarms) Len() int { return len(a) }

// Less implements heap.Interface.
func (a alarms) Less(i, j int) bool { return a[i].alarm.Before(a[j].alarm) }

// Swap implements heap.Interface.
func (a alarms) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push implements heap.Interface.
func (a *alarms) Push(x any) {
	f := x.(*udpFlow)
	f.place = len(*a)
	*a = append(*a, f)
}

// Pop implements heap.Interface.
func (a *alarms) Pop() any {
	last := len(*a) - 1
	f := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return f
}
