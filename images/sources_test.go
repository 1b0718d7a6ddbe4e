package images

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var fallback = []string{
	"deb http://deb.debian.org/debian bookworm main",
	"deb http://deb.debian.org/debian-security bookworm-security main",
	"deb http://deb.debian.org/debian bookworm-updates main",
}

func TestAptSources(t *testing.T) {
	for name, test := range map[string]struct {
		files  map[string]string
		mirror string
		want   []string
	}{
		"nothing":            {want: fallback},
		"mirror":             {mirror: "http://mirror/debian", want: []string{"deb http://mirror/debian bookworm main"}},
		"mirror's own lines": {mirror: "deb http://m/debian bookworm main\ndeb http://m/x y z", want: []string{"deb http://m/debian bookworm main", "deb http://m/x y z"}},
		"one-line, with options and comments": {
			files: map[string]string{"apt/sources.list": "# deb http://old/debian bookworm main\n" +
				"deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://here/debian/ bookworm main contrib # ours\n" +
				"deb-src http://here/debian bookworm main\n"},
			want: []string{"deb http://here/debian/ bookworm main contrib"},
		},
		"deb822, several suites, continued": {
			files: map[string]string{"apt/sources.list.d/debian.sources": "Types: deb\n# a comment\nURIs: http://here/debian\nSuites: bookworm\n bookworm-updates bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n" +
				"Types: deb\nURIs: http://here/debian-security\nSuites: bookworm-security\nComponents: main\n"},
			want: []string{
				"deb http://here/debian bookworm main", "deb http://here/debian bookworm-updates main",
				"deb http://here/debian-security bookworm-security main",
			},
		},
		"third parties": {
			files: map[string]string{
				"apt/sources.list.d/cloud.list":     "deb https://packages.cloud.example/apt cloud-sdk-bookworm main\n",
				"apt/sources.list.d/node.sources":   "Types: deb\nURIs: https://deb.nodesource.example/node_20.x\nSuites: nodistro\nComponents: main\n",
				"apt/sources.list.d/docker.list":    "deb [signed-by=/etc/apt/keyrings/docker.gpg] https://download.docker.example/linux/debian bookworm stable\n",
				"apt/sources.list.d/own.list":       "deb [signed-by=/etc/apt/keyrings/own.gpg] https://own.example/debian bookworm main\n",
				"apt/sources.list.d/microsoft.list": "deb https://packages.ms.example/debian/12/prod bookworm main\n",
			},
			want: fallback,
		},
		"switched off": {
			files: map[string]string{"apt/sources.list.d/debian.sources": "Enabled: no\nTypes: deb\nURIs: http://off/debian\nSuites: bookworm\nComponents: main\n"},
			want:  fallback,
		},
		"another release": {
			files: map[string]string{"apt/sources.list": "deb http://here/debian trixie main non-free-firmware\ndeb http://here/debian trixie-updates main\n" +
				"deb http://here/debian-security trixie-security main\ndeb http://here/debian trixie-backports main\n"},
			want: []string{
				"deb http://here/debian bookworm main non-free-firmware", "deb http://here/debian bookworm-updates main",
				"deb http://here/debian-security bookworm-security main",
			},
		},
		"two releases": {
			files: map[string]string{"apt/sources.list": "deb http://new/debian trixie main\ndeb http://here/debian bookworm main\n"},
			want:  []string{"deb http://here/debian bookworm main"},
		},
		"a snapshot": {
			files: map[string]string{"apt/sources.list": "deb http://snapshot/archive/debian/20250520T000000Z bookworm main\n"},
			want:  []string{"deb http://snapshot/archive/debian/20250520T000000Z bookworm main"},
		},
		"updates only": {files: map[string]string{"apt/sources.list": "deb http://here/debian bookworm-updates main\n"}, want: fallback},
		"Debian's cloud images": {
			files: map[string]string{
				"apt/sources.list.d/debian.sources": "Types: deb deb-src\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: bookworm\nComponents: main\n",
				"apt/mirrors/debian.list":           "# mirrors\nhttps://cdn/debian\nhttps://other/debian\n",
			},
			want: []string{"deb https://cdn/debian bookworm main"},
		},
		"twice the same": {
			files: map[string]string{"apt/sources.list": "deb http://here/debian bookworm main\n", "apt/sources.list.d/a.list": "deb http://here/debian bookworm main\n"},
			want:  []string{"deb http://here/debian bookworm main"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			etc := fstest.MapFS{}
			for f, content := range test.files {
				etc[f] = &fstest.MapFile{Data: []byte(content)}
			}
			if d := cmp.Diff(test.want, aptSources(etc, "bookworm", test.mirror)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRollingSuitesHaveNoUpdates(t *testing.T) {
	etc := fstest.MapFS{"apt/sources.list": {Data: []byte("deb http://here/debian bookworm main\ndeb http://here/debian bookworm-updates main\n")}}
	for name, fsys := range map[string]fstest.MapFS{"derived": etc, "public": {}} {
		got := aptSources(fsys, "sid", "")
		if len(got) != 1 || !strings.HasSuffix(got[0], "/debian sid main") {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzSources(f *testing.F) {
	f.Add("deb [a=b] http://x/debian bookworm main")
	f.Add("Types: deb\nURIs: x\n y\nSuites: a\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range append(parseList(text), parseDeb822(text)...) {
			if s.uri == "" || s.suite == "" {
				t.Errorf("%q gave an incomplete source %+v", text, s)
			}
		}
	})
}
