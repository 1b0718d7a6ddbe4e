package rack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"muster/roles"
)

// LabMachine is a machine as the lab's API shows it.
type LabMachine struct {
	MAC      roles.MAC `json:"mac"`
	Name     string    `json:"name"`
	Firmware Firmware  `json:"firmware"`
	On       bool      `json:"on"`
}

// maxSpec bounds the body of POST /machines, in bytes.
const maxSpec = 64 << 10

// ServeLab serves the rack's power switches and consoles on a unix socket that only root may use, until ctx ends or
// the rack closes; then it returns nil. A socket file that nobody listens on any more is replaced.
//
//	GET  /machines                         lists the machines
//	POST /machines                         adds one: a MachineSpec; mac may be empty
//	GET  /machines/{mac}                   shows one
//	POST /machines/{mac}/on | off | reset  switches it, and shows it
//	GET  /machines/{mac}/console           its console, as printed; with ?follow=1 it goes on
//
// The body of an answer that is an error is its text. While BreakPower is in force the switches, and the look at
// one machine, answer 503.
func (r *Rack) ServeLab(ctx context.Context, path string) error {
	ln, err := listenUnix(ctx, path)
	if err != nil {
		return fmt.Errorf("rack: lab: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	srv := &http.Server{
		Handler:           r.LabHandler(),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	// Ends when the server is closed below.
	go func() { ended <- srv.Serve(ln) }()
	select {
	case err := <-ended:
		return fmt.Errorf("rack: lab: %w", err)
	case <-ctx.Done():
	case <-r.closed:
	}
	cancel() // ends those who follow a console
	srv.Close()
	<-ended
	return nil
}

// listenUnix listens on a unix socket, in the place of a dead one.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, fmt.Errorf("socket %s is in use: %w", path, fs.ErrExist)
	} else if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
		os.Remove(path)
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// LabHandler is the lab's API, for a server of the caller's own.
func (r *Rack) LabHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /machines", func(w http.ResponseWriter, _ *http.Request) {
		list := []LabMachine{}
		for _, m := range r.Machines() {
			list = append(list, m.lab())
		}
		reply(w, http.StatusOK, list)
	})
	mux.HandleFunc("POST /machines", r.labAdd)
	mux.HandleFunc("GET /machines/{mac}", r.lab(nil))
	mux.HandleFunc("POST /machines/{mac}/on", r.lab((*Machine).On))
	mux.HandleFunc("POST /machines/{mac}/off", r.lab((*Machine).Off))
	mux.HandleFunc("POST /machines/{mac}/reset", r.lab((*Machine).Reset))
	mux.HandleFunc("GET /machines/{mac}/console", r.labConsole)
	return mux
}

func (m *Machine) lab() LabMachine {
	return LabMachine{MAC: m.spec.MAC, Name: m.spec.Name, Firmware: m.spec.Firmware, On: m.Running()}
}

// lab makes a handler that does something to the machine of the path, nil for nothing, and shows it.
func (r *Rack) lab(do func(*Machine) error) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		m, err := r.labMachine(q)
		if err == nil {
			err = r.power()
		}
		if err == nil && do != nil {
			err = do(m)
		}
		if err != nil {
			fail(w, err)
			return
		}
		reply(w, http.StatusOK, m.lab())
	}
}

// labMachine finds the machine of the path.
func (r *Rack) labMachine(q *http.Request) (*Machine, error) {
	mac, err := roles.ParseMAC(q.PathValue("mac"))
	if err != nil {
		return nil, fmt.Errorf("rack: %w: %w", err, fs.ErrInvalid)
	}
	m := r.Machine(mac)
	if m == nil {
		return nil, fmt.Errorf("rack: no machine has the MAC %s: %w", mac, fs.ErrNotExist)
	}
	return m, nil
}

func (r *Rack) labAdd(w http.ResponseWriter, q *http.Request) {
	var spec MachineSpec
	in := json.NewDecoder(http.MaxBytesReader(w, q.Body, maxSpec))
	in.DisallowUnknownFields()
	if err := in.Decode(&spec); err != nil {
		fail(w, fmt.Errorf("rack: machine: %w: %w", err, fs.ErrInvalid))
		return
	}
	m, err := r.Add(spec)
	if err != nil {
		fail(w, err)
		return
	}
	reply(w, http.StatusCreated, m.lab())
}

func (r *Rack) labConsole(w http.ResponseWriter, q *http.Request) {
	m, err := r.labMachine(q)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	ctx, cancel := context.WithCancel(q.Context())
	defer cancel()
	if q.FormValue("follow") != "1" {
		cancel() // Follow copies what there is, and sees that it is over
	}
	m.Follow(ctx, flusher{w})
}

// flusher sends every piece of a console at once.
type flusher struct{ w http.ResponseWriter }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = http.NewResponseController(f.w).Flush()
	}
	return n, err
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// labStatus is the one table from kinds of errors to HTTP.
var labStatus = []struct {
	kind   error
	status int
}{
	{fs.ErrInvalid, http.StatusBadRequest},
	{fs.ErrNotExist, http.StatusNotFound},
	{fs.ErrExist, http.StatusConflict},
	{fs.ErrClosed, http.StatusServiceUnavailable},
	{errPowerless, http.StatusServiceUnavailable},
}

func fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	for _, s := range labStatus {
		if errors.Is(err, s.kind) {
			status = s.status
			break
		}
	}
	http.Error(w, err.Error(), status)
}
