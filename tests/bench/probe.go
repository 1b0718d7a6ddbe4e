package bench

import "strings"

// probeUnit tells on the serial line how much memory an idle node has left, long after its boot was measured.
const probeUnit = `[Unit]
DefaultDependencies=no
[Service]
ExecStart=/bin/sh -c 'echo "bench: $(grep -E "^(MemTotal|MemAvailable):" /proc/meminfo | tr -s " \\n" "  ")" >/dev/ttyS0'
`

const probeTimer = `[Timer]
OnBootSec=90s
AccuracySec=1s
`

// probeFiles are the probe's, by their path in the root.
var probeFiles = map[string]string{
	"etc/systemd/system/bench-probe.service": probeUnit,
	"etc/systemd/system/bench-probe.timer":   probeTimer,
}

// probe is a shell command that puts the probe into the root that a shell word names.
func probe(root string) string {
	var b strings.Builder
	for name, text := range probeFiles {
		b.WriteString("cat >\"" + root + "/" + name + "\" <<'EOF'\n" + text + "EOF\n")
	}
	b.WriteString("mkdir -p \"" + root + "/etc/systemd/system/timers.target.wants\"\n" +
		"ln -s ../bench-probe.timer \"" + root + "/etc/systemd/system/timers.target.wants/\"")
	return b.String()
}
