package roles_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"muster/roles"
	"muster/roles/declare"
)

// TestSecretsStayInside boots a node through to ready, with everything that lists, exports, logs or fails
// looked through for what nobody may see.
func TestSecretsStayInside(t *testing.T) {
	r := wired(t)
	var out bytes.Buffer
	r.Log = logTo(&out)
	show := func(v any, err error) {
		t.Helper()
		b, jerr := json.Marshal(v)
		if jerr != nil {
			t.Fatal(jerr)
		}
		fmt.Fprintf(&out, "%s\n%v\n", b, err)
	}
	r.declare("nodes: [{mac: 52:54:00:aa:00:01, pool: mail, slot: mail-01}]")
	ticket, orders := r.hello(mac(1))
	files, err := r.Files(t.Context(), "mail-01", "mail:1")
	if err != nil {
		t.Fatal(err)
	}
	show(files.Revision, nil)
	fmt.Fprintf(&out, "%v %+v %#v\n", files, files.Files, files.Files[0])
	r.Log.Info("somebody logs them", "files", files)
	for _, k := range []string{"pool/mail/shared", "slot/mail-01/tls", "slot/mail-02/host"} {
		given := map[string]string{"pool/mail/shared": "correct horse battery", "slot/mail-01/tls": string(certificate(t, "mail-01")), "slot/mail-02/host": r.value("slot/mail-01/host")}[k]
		s, err := r.SetSecret(t.Context(), k, []byte(given))
		show(s, err)
		fmt.Fprintf(&out, "%v %+v %#v %s\n", s, s, s, &s)
		r.Log.Info("somebody logs it", "secret", s)
		_, err = r.SetSecret(t.Context(), k, []byte("wrong\n"+given+"\x00"))
		show(nil, err)
	}
	s, err := r.RotateSecret(t.Context(), "pool/mail/tsig")
	show(s, err)
	show(r.claim(mac(1), ticket.Boot.Token, 77), nil)
	_, err = r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(78))
	show(nil, err)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepSwitchRoot})
	r.check(1, nil)
	n, err := r.Present(t.Context(), mac(1), key(77), files.Revision)
	show(n, err)
	_, err = r.Present(t.Context(), mac(1), key(79), files.Revision)
	show(orders, err)
	dry, err := r.Apply(t.Context(), r.parse(strings.ReplaceAll(filesYAML, "{name: host, kind: ssh}", "{name: host, kind: tls}")), roles.ApplyOptions{DryRun: true})
	show(dry, err)
	d, err := r.Export()
	show(d, err)
	text, err := declare.Encode(d)
	fmt.Fprintf(&out, "%s%v", text, err)
	lists := []func() (any, error){
		func() (any, error) { return r.Secrets() }, func() (any, error) { return r.Nodes() }, func() (any, error) { return r.Pools() },
		func() (any, error) { return r.EffectiveRoles() }, func() (any, error) { return r.Boots("mail-01") }, func() (any, error) { return r.Events(0, 0) },
	}
	for _, list := range lists {
		show(list())
	}
	all := out.String()
	if !strings.Contains(all, "redeemed twice") || !strings.Contains(all, "slot/mail-01/host") {
		t.Fatal("the test sees nothing")
	}
	err = r.Store.View(func(tx roles.Tx) error {
		for s := range tx.Secrets().All() {
			for _, line := range strings.Split(string(s.Value), "\n") {
				if len(line) > 4 && !strings.HasPrefix(line, "-----") && !strings.Contains(s.Public, line) && strings.Contains(all, line) {
					t.Errorf("a line of %s is shown: %s", s.Key, line)
				}
			}
		}
		for b := range tx.Boots().All() {
			for what, v := range map[string]string{"token": b.Token, "claim": b.Claim} {
				if v != "" && strings.Contains(all, v) {
					t.Errorf("the %s of boot %d is shown", what, b.ID)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"correct horse", key(77), key(78), key(79)} {
		if strings.Contains(all, word) {
			t.Errorf("%q is shown", word)
		}
	}
}
