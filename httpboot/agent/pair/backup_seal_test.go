package pair

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/iotest"
)

func TestSeal(t *testing.T) {
	for _, content := range []string{"", "x", string(bytes.Repeat([]byte("muster"), 1000))} {
		var out bytes.Buffer
		s := NewSealer(&out)
		io.WriteString(s, content)
		if err := s.Seal(); err != nil {
			t.Fatal(err)
		}
		whole := out.Bytes()
		for _, wrap := range []func(io.Reader) io.Reader{iotest.OneByteReader, iotest.DataErrReader} {
			got, err := io.ReadAll(NewUnsealer(wrap(bytes.NewReader(whole))))
			if err != nil || !bytes.Equal(got, whole) {
				t.Errorf("%d bytes: %v, %d of %d bytes", len(content), err, len(got), len(whole))
			}
		}
		broken := map[string][]byte{"empty": nil, "no seal": []byte(content), "cut": whole[:len(whole)-1], "longer": append(bytes.Clone(whole), 'x')}
		if content != "" {
			other := bytes.Clone(whole)
			other[0]++
			broken["another byte"], broken["without its begin"] = other, whole[1:]
		}
		for name, b := range broken {
			if _, err := io.ReadAll(NewUnsealer(bytes.NewReader(b))); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%d bytes, %s: %v", len(content), name, err)
			}
		}
	}
}
