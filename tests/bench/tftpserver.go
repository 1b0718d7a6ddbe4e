package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// tftpServer is a TFTP server under load.
type tftpServer struct {
	cmd   *exec.Cmd
	log   bytes.Buffer
	group *group
}

// tftpKinds are the servers that are compared.
var tftpKinds = []string{"muster", "tftpd-hpa", "atftpd", "dnsmasq"}

// startTFTP starts a server of a kind, which serves what is in files, and waits until it has its socket. As many
// transfers at once as there may be are allowed to each; what else they do by default is left as it is.
func startTFTP(w *cable, kind, dir, files, bin string) (*tftpServer, error) {
	var args []string
	switch kind {
	case "tftpd-hpa":
		args = []string{peer("tftpd-hpa", "in.tftpd"), "--foreground", "--user", "root", "--address", "0.0.0.0:69", "--secure", files}
	case "atftpd":
		args = []string{peer("atftpd", "atftpd"), "--daemon", "--no-fork", "--user", "root.root", "--maxthread", "1000", "--port", "69", files}
	case "dnsmasq":
		args = []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file=",
			"--enable-tftp", "--tftp-root=" + files, "--tftp-max=1000"}
	default:
		config := filepath.Join(dir, "muster.yaml")
		if err := os.WriteFile(config, fmt.Appendf(nil, `data: %s/data
library: /nonexistent
dhcpd:
  interfaces: [eth0]
  subnets: [{subnet: 10.76.0.0/14, range: %s}]
httpboot: {files: %s}
images: {nfs: {server: external, address: %s}}
api: {socket: %s/muster.sock}
`, dir, largeRange, files, serverAddr, dir), 0o644); err != nil {
			return nil, err
		}
		args = []string{bin, "--config", config, "serve"}
	}
	s := &tftpServer{cmd: exec.Command("ip", append([]string{"netns", "exec", w.servers}, args...)...)}
	var err error
	if s.group, err = newGroup("tftp-" + kind); err != nil {
		return nil, err
	}
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, UseCgroupFD: true, CgroupFD: int(s.group.dir.Fd())}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if listens(w.servers, 69) {
		return s, nil
	}
	s.stop()
	return nil, fmt.Errorf("%s does not listen: %s", kind, &s.log)
}

// peer is the program of a server that is compared, which .ci/unpack has put there: the packages of two TFTP servers
// cannot be installed together.
func peer(pkg, name string) string { return filepath.Join(peersDir, pkg, "usr/sbin", name) }

const peersDir = "../../.cache/tftp-peers"

func (s *tftpServer) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	ended := time.AfterFunc(10*time.Second, func() { _ = s.cmd.Process.Kill() })
	_ = s.cmd.Wait()
	ended.Stop()
	// tftpd-hpa leaves a process for each transfer, which ends when its client has said so.
	for end := time.Now().Add(10 * time.Second); s.group.close() != nil && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		_ = os.WriteFile(filepath.Join(s.group.path, "cgroup.kill"), []byte("1"), 0)
	}
}
