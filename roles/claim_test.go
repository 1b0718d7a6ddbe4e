package roles_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/images"
	"muster/roles"
	"muster/roles/declare"
)

// key is one that a machine could have made.
func key(i int) string { return fmt.Sprintf("%064x", i) }

func (r *rack) claim(m roles.MAC, token string, i int) roles.Orders {
	r.t.Helper()
	o, err := r.Claim(r.t.Context(), m, token, key(i))
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func (r *rack) wantDenied(what string, err error) {
	r.t.Helper()
	if !errors.Is(err, fs.ErrPermission) {
		r.t.Errorf("%s: got %v, want a permission error", what, err)
	}
}

func TestClaim(t *testing.T) {
	r := newRack(t)
	ticket, orders := r.hello(mac(1))
	token := ticket.Boot.Token
	for _, bad := range []string{"", "x", key(1)[2:], key(1) + "00", strings.Repeat("z", 64)} {
		if _, err := r.Claim(t.Context(), mac(1), token, bad); !errors.Is(err, fs.ErrInvalid) || strings.Contains(err.Error(), bad) && len(bad) > 1 {
			t.Errorf("key %q: %v", bad, err)
		}
	}
	_, err := r.Claim(t.Context(), mac(1), "x", key(1))
	r.wantDenied("another token", err)
	_, err = r.Claim(t.Context(), mac(2), token, key(1))
	r.wantDenied("another machine", err)

	got := r.claim(mac(1), token, 10)
	if got.Slot == nil || *got.Slot != *orders.Slot || got.Image.Ref != orders.Image.Ref || got.Node.MAC != mac(1) || got.Role.Name != "web" {
		t.Errorf("orders %+v", got)
	}
	before := r.Revision()
	r.claim(mac(1), token, 10)
	if _, err := r.Claim(t.Context(), mac(1), token, strings.ToUpper(key(10))); err != nil {
		t.Errorf("the same key in capitals: %v", err)
	}
	if r.Revision() != before {
		t.Error("asking again is written")
	}
	for range 3 {
		_, err = r.Claim(t.Context(), mac(1), token, key(11))
		r.wantDenied("another key", err)
	}
	b := r.boot("web-01")
	warnings := 0
	for _, ev := range b.Events {
		if strings.Contains(ev.Error, "was redeemed twice") {
			warnings++
		}
	}
	if warnings != 1 || b.Step != roles.StepSpec || !b.Ended.IsZero() {
		t.Errorf("%d warnings; the boot is %+v", warnings, b)
	}
	if r.node("web-01").State != roles.StateBooting {
		t.Error("who comes too late fails the boot")
	}
	// The machine that was first goes on, and may ask again when it serves.
	r.report(mac(1), token, roles.Reported{Seq: 1, Step: roles.StepSwitchRoot})
	r.check(1, nil)
	r.wantNode("web-01", "web-01", roles.StateReady)
	r.claim(mac(1), token, 10)
	_, err = r.Claim(t.Context(), mac(1), token, key(12))
	r.wantDenied("another key for a node that serves", err)
	r.wantNode("web-01", "web-01", roles.StateReady)

	next, _ := r.hello(mac(1))
	_, err = r.Claim(t.Context(), mac(1), token, key(10))
	r.wantDenied("the token of the boot before", err)
	r.claim(mac(1), next.Boot.Token, 13)
}

// A neighbour that reads the token and is faster: the machine is refused, says so, and does not get ready.
func TestClaimStolen(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.claim(mac(1), ticket.Boot.Token, 66)
	_, err := r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("the machine itself", err)
	// While nothing is heard of it, what answers at its address is not taken for it.
	r.now = r.now.Add(time.Minute)
	r.check(3, nil)
	r.wantNode("web-01", "web-01", roles.StateBooting)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepFail, Error: err.Error()})
	r.check(3, nil)
	n := r.wantNode("web-01", "web-01", roles.StateFailed)
	if !strings.Contains(n.Why, "somebody else has redeemed the token") {
		t.Errorf("why %q", n.Why)
	}
}

// A token is worth something only between the orders and switch-root.
func TestClaimTimes(t *testing.T) {
	r := newRack(t)
	ticket, err := r.Script(t.Context(), mac(1), facts)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("before hello", err)

	r.declare("pools: [{name: web, role: web, size: {max: 50}, addresses: 10.77.0.20-10.77.0.69}]")
	waiting, _ := r.hello(mac(2))
	_, err = r.Claim(t.Context(), mac(2), waiting.Boot.Token, key(1))
	r.wantDenied("while it waits", err)
	r.assign(mac(2).String(), "web")
	if _, err := r.Orders(t.Context(), mac(2), waiting.Boot.Token); err != nil {
		t.Fatal(err)
	}
	r.claim(mac(2), waiting.Boot.Token, 2)

	r.assign(mac(3).String(), "web")
	late, _ := r.powerOn(mac(3))
	_, err = r.Claim(t.Context(), mac(3), late.Boot.Token, key(1))
	r.wantDenied("after switch-root", err)
	r.check(1, nil)
	_, err = r.Claim(t.Context(), mac(3), late.Boot.Token, key(1))
	r.wantDenied("when it serves", err)
	// Who has the token can make it look as if the agent spoke again; that opens nothing.
	if _, err := r.Orders(t.Context(), mac(3), late.Boot.Token); err != nil {
		t.Fatal(err)
	}
	_, err = r.Claim(t.Context(), mac(3), late.Boot.Token, key(1))
	r.wantDenied("after a word of who has the token", err)

	r.assign(mac(4).String(), "web")
	failed, _ := r.hello(mac(4))
	r.report(mac(4), failed.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepFail, Error: "no root"})
	_, err = r.Claim(t.Context(), mac(4), failed.Boot.Token, key(1))
	r.wantDenied("after it failed", err)
}

// The secrets of a slot are for who has it.
func TestClaimSlot(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.claim(mac(1), ticket.Boot.Token, 1)
	r.assign("web-01", "ntp")
	if o := r.claim(mac(1), ticket.Boot.Token, 1); o.Slot.Name != "web-01" || o.Role.Name != "web" {
		t.Errorf("a node on its way elsewhere boots as %+v", o)
	}
	if o, err := r.Orders(t.Context(), mac(1), ticket.Boot.Token); err != nil || o.Slot.Name != "ntp-01" {
		t.Fatalf("%+v, %v", o, err)
	}
	if o := r.claim(mac(1), ticket.Boot.Token, 1); o.Slot.Name != "ntp-01" || o.Image.Ref.Name != "ntp" {
		t.Errorf("after its orders changed it gets %+v", o)
	}
	if _, err := r.Release(t.Context(), "ntp-01"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("without a slot", err)
	// A slot that it was given since is not the one that it boots as.
	r.assign(mac(1).String(), "web")
	_, err = r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(1))
	r.wantDenied("for another slot", err)
}

// moving is a catalog whose current version the test chooses.
type moving struct{ current *int }

func (m moving) Find(ref images.Ref) (images.Image, error) {
	if ref.Version == 0 {
		ref.Version = *m.current
	}
	return images.Image{Ref: ref, Kernel: kernel}, nil
}

// What is claimed belongs to the image that the boot has, also when another is published meanwhile.
func TestClaimImage(t *testing.T) {
	r := newRack(t)
	current := 7
	r.Images = moving{&current}
	ticket, _ := r.hello(mac(1))
	current = 8
	if o := r.claim(mac(1), ticket.Boot.Token, 1); o.Image.Ref.String() != "web:7" {
		t.Errorf("image %s", o.Image.Ref)
	}
}

func TestClaimAtOnce(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	var won []int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := r.Claim(t.Context(), mac(1), ticket.Boot.Token, key(i))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won = append(won, i)
			} else {
				r.wantDenied("too late", err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Errorf("%d machines have redeemed one token", len(won))
	}
}

func TestPresent(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	present := func(i int, files string) (roles.Node, error) { return r.Present(t.Context(), mac(1), key(i), files) }
	_, err := present(1, "")
	r.wantDenied("before a claim", err)
	r.claim(mac(1), ticket.Boot.Token, 1)
	r.report(mac(1), ticket.Boot.Token, roles.Reported{Seq: 1, Step: roles.StepSwitchRoot})
	r.check(1, nil)
	if n, err := present(1, "aa"); err != nil || n.Files != "aa" || n.Slot != "web-01" || n.Address.String() != "10.77.0.20" {
		t.Errorf("%+v, %v", n, err)
	}
	if n := r.node("web-01"); n.Files != "aa" {
		t.Errorf("files %q", n.Files)
	}
	before := r.Revision()
	for range 3 {
		if _, err := present(1, "aa"); err != nil {
			t.Error(err)
		}
	}
	_, err = present(2, "bb")
	r.wantDenied("another key", err)
	if _, err = r.Present(t.Context(), mac(1), "x", ""); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("no key: %v", err)
	}
	_, err = r.Present(t.Context(), mac(9), key(1), "")
	r.wantDenied("a machine that nobody knows", err)
	if r.Revision() != before {
		t.Error("a poll that brings nothing new is written")
	}

	// Anybody can send a DISCOVER, and fetch a script.
	if err := r.Observe(t.Context(), []roles.Sighting{{MAC: mac(1), Time: r.now.Add(time.Second), Step: roles.StepDiscover, Boots: true}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Script(t.Context(), mac(1), facts); err != nil {
		t.Fatal(err)
	}
	if _, err := present(1, "aa"); err != nil {
		t.Errorf("after a DISCOVER of somebody: %v", err)
	}
	next, _ := r.hello(mac(1))
	_, err = present(1, "aa")
	r.wantDenied("after the node restarted", err)
	r.claim(mac(1), next.Boot.Token, 3)
	if _, err := present(3, "cc"); err != nil {
		t.Error(err)
	}
	_, err = present(1, "aa")
	r.wantDenied("with the key of the boot before", err)
}

// A node that runs as another slot than it has is not given the files of that one.
func TestPresentElsewhere(t *testing.T) {
	r := newRack(t)
	ticket, _ := r.hello(mac(1))
	r.claim(mac(1), ticket.Boot.Token, 1)
	sync := func() bool {
		t.Helper()
		err := r.Store.Update(t.Context(), func(tx roles.Tx) error {
			n, _ := tx.Nodes().Get(mac(1))
			n.Sync = true
			return tx.Nodes().Put(n)
		})
		if err != nil {
			t.Fatal(err)
		}
		n, err := r.Present(t.Context(), mac(1), key(1), "")
		if err != nil {
			t.Fatal(err)
		}
		return n.Sync
	}
	if !sync() {
		t.Error("its own files are kept from it")
	}
	if _, err := r.Release(t.Context(), "web-01"); err != nil {
		t.Fatal(err)
	}
	if sync() {
		t.Error("without a slot, it gets files")
	}
	r.assign(mac(1).String(), "ntp")
	if sync() {
		t.Error("it gets the files of what it is not yet")
	}
}

// TestClaimModel lets machines, and thieves that see every token, claim and present in any order with boots,
// reports and operators between: a boot has one key, for good, and only that is taken.
func TestClaimModel(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			m := newModel(t, seed)
			c := claims{model: m, rand: rand.New(rand.NewPCG(seed, 2)), won: map[uint64]int{}}
			for range 400 {
				c.step()
			}
			if min(c.good, c.denied, c.present) < 5 {
				t.Errorf("only %d claims, %d refusals, %d words of running systems: the model tries too little", c.good, c.denied, c.present)
			}
		})
	}
}

type claims struct {
	*model
	rand                  *rand.Rand
	won                   map[uint64]int // the key of a boot
	good, denied, present int
}

func (c *claims) step() {
	c.t.Helper()
	if c.rand.IntN(3) == 0 {
		c.model.step()
		return
	}
	x := c.machines[c.rand.IntN(len(c.machines))]
	if c.rand.IntN(4) == 0 {
		t, _ := c.hello(x.mac)
		x.old, x.token, x.seq = x.token, t.Boot.Token, 0
	}
	n, boots := c.look(x.mac)
	if len(boots) == 0 {
		return
	}
	b := boots[0]
	who := 1 + c.rand.IntN(3) // 1 is the machine; every boot makes another key
	k := int(b.ID)*10 + who
	if c.rand.IntN(4) == 0 && len(boots) > 1 {
		k = int(boots[1].ID)*10 + who // of the boot before
	}
	if c.rand.IntN(2) == 0 {
		if won, ok := c.won[boots[c.rand.IntN(len(boots))].ID]; ok && c.rand.IntN(3) > 0 {
			k = won
		}
		c.presents(n, boots, k)
		return
	}
	token := x.token
	if c.rand.IntN(5) == 0 {
		token = x.old
	}
	o, err := c.Claim(c.t.Context(), x.mac, token, key(k))
	won, claimed := c.won[b.ID]
	inTime := b.Ended.IsZero() && b.Step != "" && stepOf(b) >= stepIndex(roles.StepSpec) && stepOf(b) < stepIndex(roles.StepSwitchRoot)
	want := token != "" && token == b.Token && n.Slot != "" && n.Slot == b.Slot && (claimed && won == k || !claimed && inTime)
	if (err == nil) != want {
		c.fail("claim of boot %+v of %+v with key %d, which %d (%v) has: %v, want success: %v", b, n, k, won, claimed, err, want)
	}
	switch {
	case err == nil:
		c.good++
		c.won[b.ID] = k
		if o.Slot.Name != b.Slot || o.Image.Ref.String() != b.Image {
			c.fail("boot %+v claimed %+v", b, o)
		}
	case errors.Is(err, fs.ErrPermission):
		c.denied++
	default:
		c.fail("claim: %v", err)
	}
}

// presents speaks as the running system with key k.
func (c *claims) presents(n roles.Node, boots []roles.Boot, k int) {
	c.t.Helper()
	want := false
	for _, b := range boots {
		if won, claimed := c.won[b.ID]; claimed || stepOf(b) >= stepIndex(roles.StepHello) {
			want = claimed && won == k
			break
		}
	}
	files := fmt.Sprint(c.rand.IntN(3))
	got, err := c.Present(c.t.Context(), n.MAC, key(k), files)
	if (err == nil) != want || err == nil && got.Files != files {
		c.fail("key %d presents %q for %+v: %+v, %v; want success: %v", k, files, n, got, err, want)
	}
	if err == nil {
		c.present++
	} else {
		c.wantDenied("present", err)
	}
}

func (c *claims) look(m roles.MAC) (n roles.Node, boots []roles.Boot) {
	_ = c.Store.View(func(tx roles.Tx) error {
		n, _ = tx.Nodes().Get(m)
		for b := range tx.BootsOf(m) {
			boots = append(boots, b)
		}
		return nil
	})
	return n, boots
}

func stepIndex(s roles.Step) int {
	for i, t := range roles.Steps {
		if s == t {
			return i
		}
	}
	return -1
}

func stepOf(b roles.Boot) int { return stepIndex(b.Step) }

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
