package images

import (
	"slices"
	"testing"
)

func TestHostEnv(t *testing.T) {
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("https_proxy", "http://10.77.0.9:3142")
	cmd := debstrap{program: "mmdebstrap", suite: "bookworm", tree: "/t"}.command()
	for _, kv := range []string{"https_proxy=http://10.77.0.9:3142", "SOURCE_DATE_EPOCH=946684800", "LC_ALL=C.UTF-8"} {
		if !slices.Contains(cmd.Env, kv) {
			t.Errorf("packages' scripts do not get %s", kv)
		}
	}
	for _, kv := range []string{"TZ=Asia/Tokyo", "NOTIFY_SOCKET=/run/systemd/notify"} {
		if slices.Contains(cmd.Env, kv) {
			t.Errorf("packages' scripts get this process's %s", kv)
		}
	}
}
