package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// systemd is what an image has that can run the agent.
const systemd = "/lib/systemd/systemd"

// unitDir is where systemd looks for units that do not outlive a boot.
const unitDir = "/run/systemd/system/"

// agentUnit runs the agent beside the node's own services and not before them: it begins when nothing else is
// left to be started, but five seconds later in any case (a service that hangs must not keep the operator's help
// away, as an order after multi-user.target does). It works at a low priority, and is started again for ever,
// slowly.
const agentUnit = `[Unit]
Description=Muster agent
StartLimitIntervalSec=0

[Service]
Type=idle
ExecStart=` + AgentFile + ` node
Restart=always
RestartSec=30
Nice=10
`

// leave puts into the root's /run what the running system finds there: EnvFile always, and the agent with its
// session where the node has secrets and systemd.
func (a *Agent) leave(s *Spec) error {
	w := newWriter(a.path(sysroot), nil)
	files := []File{{Path: EnvFile, Content: fmt.Appendf(nil, "MUSTER_SLOT=%s\nMUSTER_IMAGE=%s\n", shellWord(s.Hostname), shellWord(s.Image))}}
	stays := a.key != "" && s.Secure != "" && w.root.stat(systemd) == nil
	if stays {
		servers, err := secureServers(s.Secure, a.params.Servers)
		if err != nil {
			return err
		}
		session, err := json.Marshal(Session{MAC: a.params.MAC, Key: a.key, Servers: servers, Pin: a.params.Pin, Revision: s.Revision})
		if err != nil {
			return err
		}
		program, err := os.ReadFile(a.path("/init"))
		if err != nil {
			return err
		}
		files = append(files, File{Path: SessionFile, Mode: 0o600, Content: session},
			File{Path: AgentFile, Mode: 0o700, Content: program}, File{Path: unitDir + AgentUnit, Content: []byte(agentUnit)})
	}
	for _, f := range files {
		if _, err := w.write(f); err != nil {
			return err
		}
	}
	if !stays {
		return nil
	}
	return w.root.symlink("../"+AgentUnit, unitDir+"multi-user.target.wants/"+AgentUnit)
}

// shellWord quotes s where a shell would see more in it than a word.
func shellWord(s string) string {
	if s != "" && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789._:/@-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// readSession reads what the boot's agent has left.
func readSession(root string) (Session, error) {
	var s Session
	b, err := os.ReadFile(root + SessionFile)
	if err != nil {
		return s, fmt.Errorf("agent: no session (a boot server that has TLS gives one to each boot): %w", err)
	}
	if err = json.Unmarshal(b, &s); err == nil && (s.MAC == "" || s.Key == "" || s.Pin == "" || len(s.Servers) == 0) {
		err = errors.New("something is missing in it")
	}
	if err != nil {
		return s, fmt.Errorf("agent: session %s: %w: %w", SessionFile, fs.ErrInvalid, err)
	}
	return s, nil
}

func (s Session) save(root string) error {
	b, err := json.Marshal(s)
	if err == nil {
		_, err = newWriter(root+"/", nil).write(File{Path: SessionFile, Mode: 0o600, Content: b})
	}
	return err
}
