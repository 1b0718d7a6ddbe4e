package doctor

import (
	"testing"
	"time"
)

// All checks together, in the order of a boot, over a set-up where some work and some do not.
func TestRun(t *testing.T) {
	dir := programs(t)
	got := Run(t.Context(), Env{
		IPXE: dir, TFTP: serveTFTP(t, dir), HTTP: serveHTTP(t, map[string]string{"/ipxe": "#!ipxe"}),
		Data: "/nonexistent", Now: func() time.Time { return time.Unix(0, 0) },
	})
	compare(t, got,
		want{"ipxe", OK, "", ""}, want{"tftp", OK, "", ""}, want{"http", OK, "", ""}, want{"image", Warn, "", ""},
		want{"disk", Fail, "", ""}, want{"clock", Fail, "", ""})
}
