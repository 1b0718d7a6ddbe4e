package agent

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// signer is the key of a rack.
var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

func public() ed25519.PublicKey { return signer.Public().(ed25519.PublicKey) }

// sealed writes s as a seal's file.
func sealed(t testing.TB, key ed25519.PrivateKey, s *Seal) []byte {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	sig := ed25519.Sign(key, append([]byte("muster seal 1\n"), b...))
	return append(b, "\n"+base64.StdEncoding.EncodeToString(sig)+"\n"...)
}

func TestOpenSeal(t *testing.T) {
	_, seal := squash(1050)
	good := sealed(t, signer, seal)
	got, err := openSeal(good, public())
	if err != nil || got.Ref != "web:7" || len(got.Sums) != 11 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := openSeal(bytes.TrimSuffix(good, []byte("\n")), public()); err != nil {
		t.Errorf("without the last newline: %v", err)
	}
	other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{8}, 32))
	unsaid := append([]byte(nil), good...) // signed without its context
	line, _, _ := bytes.Cut(good, []byte("\n"))
	unsaid = append(append(unsaid[:0], line...), "\n"+base64.StdEncoding.EncodeToString(ed25519.Sign(signer, line))+"\n"...)
	for name, tc := range map[string]struct {
		b    []byte
		want error
	}{
		"another key":      {sealed(t, other, seal), fs.ErrPermission},
		"no context":       {unsaid, fs.ErrPermission},
		"empty":            {nil, fs.ErrInvalid},
		"no signature":     {line, fs.ErrInvalid},
		"more lines":       {append(good, "x\n"...), fs.ErrInvalid},
		"no JSON":          {sealedText("nothing"), fs.ErrInvalid},
		"html":             {[]byte("<html>\n</html>\n"), fs.ErrInvalid},
		"no size":          {sealed(t, signer, &Seal{Chunk: 1}), fs.ErrInvalid},
		"no chunk":         {sealed(t, signer, &Seal{Size: 1}), fs.ErrInvalid},
		"a giant chunk":    {sealed(t, signer, &Seal{Size: 1 << 40, Chunk: 1 << 40, Sums: seal.Sums[:1]}), fs.ErrInvalid},
		"a sum too few":    {sealed(t, signer, &Seal{Size: 1050, Chunk: 100, Sums: seal.Sums[:10]}), fs.ErrInvalid},
		"a sum too many":   {sealed(t, signer, &Seal{Size: 1000, Chunk: 100, Sums: seal.Sums}), fs.ErrInvalid},
		"half a sum":       {sealed(t, signer, &Seal{Size: 1, Chunk: 1, Sums: []string{"00"}}), fs.ErrInvalid},
		"size and chunk -": {sealed(t, signer, &Seal{Size: -1, Chunk: -1}), fs.ErrInvalid},
	} {
		if s, err := openSeal(tc.b, public()); !errors.Is(err, tc.want) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := openSeal(good, nil); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("no key: %v", err)
	}
	// One bit anywhere, and it is none.
	for i := range good[:len(good)-1] {
		b := bytes.Clone(good)
		b[i] ^= 1
		if _, err := openSeal(b, public()); err == nil {
			t.Errorf("byte %d of %q was changed: no error", i, good[max(0, i-5):i+5])
		}
	}
}

// sealedText is a text with a good signature.
func sealedText(text string) []byte {
	sig := ed25519.Sign(signer, []byte(SealContext+text))
	return []byte(text + "\n" + base64.StdEncoding.EncodeToString(sig))
}

func TestSealFits(t *testing.T) {
	_, seal := squash(1050)
	spec := &Spec{Image: "web:8", RAM: &RAMRoot{Size: 7}}
	if err := seal.fits(spec); !errors.Is(err, fs.ErrInvalid) || !strings.Contains(err.Error(), "it is the one of web:7") ||
		!strings.Contains(err.Error(), "it is for 1050 bytes, the boot spec says 7") {
		t.Errorf("got %v", err)
	}
}

func FuzzSeal(f *testing.F) {
	_, seal := squash(250)
	b, _ := json.Marshal(seal)
	f.Add(string(b))
	f.Add(`{"size":9223372036854775807,"chunk":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\n") {
			return
		}
		s, err := openSeal(sealedText(text), public())
		if err == nil && (s.Size < 1 || s.Chunk < 1 || int64(len(s.Sums)-1)*s.Chunk >= s.Size) {
			t.Errorf("%q gives %+v", text, s)
		}
	})
}
