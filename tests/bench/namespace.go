package bench

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"github.com/vishvananda/netns"
)

// inside runs f in the named network namespace: sockets that f opens stay there.
func inside(namespace string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	here, err := netns.Get()
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := netns.GetFromName(namespace)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := netns.Set(there); err != nil {
		return err
	}
	return errors.Join(f(), netns.Set(here))
}

// listens waits until a UDP port is open in the named namespace, for a minute at most.
func listens(namespace string, port int) bool {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		out, _ := exec.Command("ip", "netns", "exec", namespace, "ss", "-Hulpn", fmt.Sprintf("sport = :%d", port)).Output()
		if len(out) > 0 {
			return true
		}
	}
	return false
}
