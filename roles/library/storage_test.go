package library

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fileOf renders one file of the role storage for a slot.
func fileOf(t *testing.T, path string, n int) string {
	t.Helper()
	r := readRole(t, "storage")
	for _, f := range r.Files {
		if f.Path == path {
			text, err := render(f, example(r, n, nil), map[string]string{"corosync": "c0r0", "drbd": "drBD"})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
	}
	t.Fatalf("the role has no %s", path)
	return ""
}

// TestWhatAHalfKnows is the contract with httpboot/agent/pair.
func TestWhatAHalfKnows(t *testing.T) {
	for n, want := range map[int][3]string{1: {"storage-01", "storage-02", "10.77.0.22"}, 2: {"storage-02", "storage-01", "10.77.0.21"}} {
		var got struct {
			Pool, Slot, Address, Peer, PeerAddress, Floating string
			Number                                           int
		}
		d := json.NewDecoder(strings.NewReader(fileOf(t, "/etc/muster/pair.json", n)))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if got.Pool != "storage" || got.Slot != want[0] || got.Number != n || got.Peer != want[1] || got.PeerAddress != want[2] || got.Floating != "10.77.0.9/24" {
			t.Errorf("storage-%02d knows %+v", n, got)
		}
	}
}

// TestBothHalvesAgree: a cluster whose members have other files than each other is none.
func TestBothHalvesAgree(t *testing.T) {
	for _, f := range readRole(t, "storage").Files {
		if f.Path != "/etc/muster/pair.json" && fileOf(t, f.Path, 1) != fileOf(t, f.Path, 2) {
			t.Errorf("%s differs", f.Path)
		}
	}
}

// TestRulesOfThePair: what the data hang on, whatever else is tuned.
func TestRulesOfThePair(t *testing.T) {
	for path, rules := range map[string][]string{
		"/var/lib/pacemaker/cib/cib.xml": {
			`name="stonith-enabled" value="true"`, `name="startup-fencing" value="true"`, `name="adjust_master_score" value="0 10 1000 10000"`,
			`rsc="fence-storage-01" node="storage-01" score="-INFINITY"`, `rsc="fence-storage-02" node="storage-02" score="-INFINITY"`,
			`rsc="storage" with-rsc="drbd-clone" with-rsc-role="Promoted" score="INFINITY"`, `first="drbd-clone" first-action="promote" then="storage"`,
		},
		"/etc/drbd.d/global_common.conf": {
			"protocol C;", "fencing resource-and-stonith;", "after-sb-0pri discard-zero-changes;", "after-sb-1pri disconnect;", "after-sb-2pri disconnect;",
			"fence-peer /usr/lib/drbd/muster-fence-peer;", "on-no-data-accessible suspend-io;", `shared-secret "drBD";`,
		},
		"/etc/drbd.d/pair.res":        {"disk /run/muster/pair/disk;", "on storage-01 {\n\t\taddress 10.77.0.21:7789;", "on storage-02 {\n\t\taddress 10.77.0.22:7789;"},
		"/etc/corosync/corosync.conf": {"nodeid: 2\n\t\tname: storage-02\n\t\tring0_addr: 10.77.0.22", "crypto_hash: sha256", "algorithm: ffsplit", "host: 10.77.0.1\n", "tls: required"},
		"/etc/hosts":                  {"\n10.77.0.21 storage-01.rack.example storage-01\n10.77.0.22 storage-02.rack.example storage-02\n"},
	} {
		text := fileOf(t, path, 1)
		for _, rule := range rules {
			if !strings.Contains(text, rule) {
				t.Errorf("%s lacks %q:\n%s", path, rule, text)
			}
		}
	}
}

// TestSeedHasOneOfEachName: Pacemaker takes a file with two elements of one id for none.
func TestSeedHasOneOfEachName(t *testing.T) {
	seen := map[string]bool{}
	d := xml.NewDecoder(strings.NewReader(fileOf(t, "/var/lib/pacemaker/cib/cib.xml", 1)))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range e.Attr {
			if a.Name.Local == "id" && e.Name.Local != "node" {
				if seen[a.Value] {
					t.Errorf("two elements are %s", a.Value)
				}
				seen[a.Value] = true
			}
		}
	}
	if len(seen) < 30 {
		t.Errorf("only %d elements", len(seen))
	}
}

// TestStorageTools lets the programs that read the files do so.
func TestStorageTools(t *testing.T) {
	s := newSite(t, "storage", `{}, pair: {address: 10.77.0.9, disk: {serial: "DATA-*"}}`)
	x := s.start(1)
	x.put("/run/muster/agent", []byte("#!/bin/sh\n"), 0o700) // every node has one
	x.verify()
	x.run("corosync", "-t")
	// The one for the kernel's DRBD: without the module drbdadm does not know which that is.
	const drbdadm = "/lib/drbd/drbdadm-84"
	if out := x.run(drbdadm, "dump"); !strings.Contains(out, "resource-and-stonith") {
		t.Errorf("drbdadm dump:\n%s", out)
	}
	if out := x.run(drbdadm, "sh-ll-dev", "pair"); out != "/run/muster/pair/disk\n" {
		t.Errorf("the disk is %s", out)
	}
	// Pacemaker changes nothing that says that it is from a newer one.
	_, set, _ := strings.Cut(fileOf(t, "/var/lib/pacemaker/cib/cib.xml", 1), `crm_feature_set="`)
	set, _, _ = strings.Cut(set, `"`)
	if out := x.run("pacemakerd", "--features"); !strings.Contains(out, " v"+set+":") {
		t.Errorf("the seed has the feature set %q, and Pacemaker:\n%s", set, out)
	}
	// It has never met a cluster, and says so.
	out, err := x.try("crm_verify", "--xml-file", "/var/lib/pacemaker/cib/cib.xml", "-VV")
	for line := range strings.Lines(out) {
		if !strings.Contains(line, "lack of quorum") && !strings.Contains(line, "is unclean but cannot be fenced") && !strings.Contains(line, "Warnings found") {
			t.Errorf("crm_verify: %v: %s", err, line)
		}
	}
	if !strings.Contains(out, "storage-02 is unclean") {
		t.Errorf("crm_verify has not looked: %s", out)
	}
	if out := x.run("stat", "-c", "%U:%G %a", "/var/lib/pacemaker/cib/cib.xml", "/etc/corosync/authkey"); out != "hacluster:haclient 600\nroot:root 400\n" {
		t.Errorf("owners and modes:\n%s", out)
	}
	for key, want := range map[string]string{"vers4.2": "y", "vers4.1": "y", "vers4.0": "n", "vers3": "n", "lease-time": "10", "grace-time": "10"} {
		if got := strings.TrimSpace(x.run("nfsconf", "--get", "nfsd", key)); got != want {
			t.Errorf("nfs.conf: %s is %q, want %q", key, got, want)
		}
	}
	x.put("/run/muster/agent", []byte("#!/bin/sh\necho \"$@\"\nif [ \"$2\" = fence ]; then cat; fi\n"), 0o700)
	hacluster := "setpriv --reuid=hacluster --regid=haclient --clear-groups "
	for command, want := range map[string]string{
		hacluster + "/usr/lib/ocf/resource.d/muster/storage meta-data": "</resource-agent>",
		hacluster + "fence_muster -o metadata </dev/null":              "</resource-agent>",
		"echo action=metadata | " + hacluster + "fence_muster":         "</resource-agent>",
		"/usr/lib/ocf/resource.d/muster/storage start":                 "pair ocf start",
		"fence_muster -o off </dev/null":                               "pair fence -o off",
		"printf 'action=off\nplug=storage-02\n' | fence_muster":        "pair fence\naction=off\nplug=storage-02",
		"/usr/lib/drbd/muster-fence-peer":                              "pair peer",
	} {
		if out := strings.TrimSpace(x.run("sh", "-c", command)); !strings.HasSuffix(out, want) {
			t.Errorf("%s says:\n%s\nwant %s", command, out, want)
		}
	}
	for _, program := range []string{"/usr/lib/ocf/resource.d/muster/storage", "/usr/sbin/fence_muster", "/usr/lib/drbd/muster-fence-peer", "/usr/lib/drbd/muster-unfence-peer"} {
		x.run("sh", "-n", program)
		x.run("test", "-x", program)
	}
}

// TestAgentsDescribeThemselves: Pacemaker uses no agent whose description it cannot read. The wrappers alone have it.
func TestAgentsDescribeThemselves(t *testing.T) {
	for file, want := range map[string][]string{
		"usr/lib/ocf/resource.d/muster/storage": {"start", "stop", "monitor", "meta-data", "validate-all"},
		"usr/sbin/fence_muster":                 {"on", "off", "reboot", "status", "monitor", "list", "metadata", "validate-all"},
	} {
		b, err := os.ReadFile(filepath.Join("storage/overlay", file))
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(b), "<<'XML'\n")
		text, rest, ended := strings.Cut(text, "\nXML\n")
		var v struct {
			Actions []struct {
				Name string `xml:"name,attr"`
			} `xml:"actions>action"`
		}
		if err := xml.Unmarshal([]byte(text), &v); err != nil || !ended || rest != "" {
			t.Errorf("%s: %v; after it: %q", file, err, rest)
		}
		var got []string
		for _, a := range v.Actions {
			got = append(got, a.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the actions %q, want %q", file, got, want)
		}
	}
}
