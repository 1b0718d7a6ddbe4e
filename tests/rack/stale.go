package rack

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// rackEnv marks the processes of a rack with its name.
const rackEnv = "MUSTER_RACK"

// killWait bounds the wait for killed processes: one may hang in the kernel for a while, on a dead NFS server.
const killWait = 10 * time.Second

// The files in a rack's directory: lockFile is locked (flock) as long as the rack's maker lives, netnsFile
// says which network namespace it has.
const (
	lockFile  = "lock"
	netnsFile = "netns"
)

// rackName is what names of racks, and of their directories, look like: muster-PID-N.
var rackName = regexp.MustCompile(`^muster-\d+-\d+$`)

// makeDir makes the directory of a new rack in base and locks it.
func makeDir(base string) (name string, lock *os.File, err error) {
	for n := 1; ; n++ {
		name = fmt.Sprintf("muster-%d-%d", os.Getpid(), n)
		err := os.Mkdir(filepath.Join(base, name), 0o755)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", nil, fmt.Errorf("rack: %w", err)
		}
	}
	dir := filepath.Join(base, name)
	// The file gets its name when it is locked: no other process can take a new rack for a stale one.
	lock, err = os.OpenFile(filepath.Join(dir, lockFile+".new"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.Rename(lock.Name(), filepath.Join(dir, lockFile))
	}
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("rack: lock %s: %w", dir, err)
	}
	return name, lock, nil
}

// removeStale removes the processes and files of racks in base whose maker and holder were both killed.
func removeStale(base string, log *slog.Logger) {
	locks, _ := filepath.Glob(filepath.Join(base, "muster-*-*", lockFile))
	for _, name := range locks {
		if !rackName.MatchString(filepath.Base(filepath.Dir(name))) {
			continue
		}
		lock, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue // its own maker was faster
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			dir := filepath.Dir(name)
			killMarked(dir)
			if err := os.RemoveAll(dir); err == nil {
				log.Info("stale rack removed", "rack", filepath.Base(dir))
			}
		}
		lock.Close()
	}
}

// killMarked kills the processes of the stale rack in dir. The kernel gives a namespace's number to a new one
// as soon as it is free, so a process must bear the rack's mark as well.
func killMarked(dir string) {
	netns, err := os.ReadFile(filepath.Join(dir, netnsFile))
	if err != nil {
		return
	}
	mark := "\x00" + rackEnv + "=" + filepath.Base(dir) + "\x00"
	for _, pid := range pidsIn(string(netns)) {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if strings.Contains("\x00"+string(env), mark) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// killIn kills every process in a network namespace but one, until there are none. The caller holds the
// namespace open, so the name cannot mean another one. It fails when one does not die within killWait.
func killIn(netns string, but int) error {
	for deadline := time.Now().Add(killWait); ; time.Sleep(10 * time.Millisecond) {
		pids := slices.DeleteFunc(pidsIn(netns), func(pid int) bool { return pid == but })
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("rack: processes %v do not die", pids)
		}
		for _, pid := range pids {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// pidsIn lists the processes in a network namespace, named as in /proc/PID/ns/net. Zombies are in none.
func pidsIn(netns string) []int {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	var pids []int
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || to != netns {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
