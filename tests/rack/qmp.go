package rack

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// qmpWait bounds one exchange with QEMU, which answers at once unless the host is overloaded.
const qmpWait = 30 * time.Second

// qmp is a connection to a machine's monitor (the QEMU Machine Protocol).
type qmp struct {
	net.Conn
	in    *json.Decoder
	ready bool
}

// newQMP makes both ends of a connection; the second is for QEMU to inherit.
func newQMP() (*qmp, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("monitor: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "qmp"), os.NewFile(uintptr(fds[1]), "monitor")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("monitor: %w", err)
	}
	return &qmp{Conn: conn, in: json.NewDecoder(conn)}, theirs, nil
}

// qmpCommand is one request.
type qmpCommand struct {
	Execute   string         `json:"execute"`
	Arguments map[string]any `json:"arguments,omitempty"`
}

// execute runs a command and waits for its result. Callers take turns.
func (q *qmp) execute(command qmpCommand) error {
	q.SetDeadline(time.Now().Add(qmpWait))
	commands := []qmpCommand{command}
	if !q.ready {
		commands = []qmpCommand{{Execute: "qmp_capabilities"}, command}
	}
	for _, c := range commands {
		err := json.NewEncoder(q).Encode(c)
		if err == nil {
			err = q.result()
		}
		if err != nil {
			return fmt.Errorf("monitor: %s: %w", c.Execute, err)
		}
	}
	q.ready = true
	return nil
}

// result skips the greeting and events and returns the error of the next result.
func (q *qmp) result() error {
	for {
		var msg struct {
			Return json.RawMessage `json:"return"`
			Error  *struct {
				Desc string `json:"desc"`
			} `json:"error"`
		}
		if err := q.in.Decode(&msg); err != nil {
			return err
		}
		if msg.Error != nil {
			return fmt.Errorf("%s", msg.Error.Desc)
		}
		if msg.Return != nil {
			return nil
		}
	}
}
