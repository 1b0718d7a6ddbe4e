package doctor

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// answering listens on the loopback and sends b to whoever connects, then reads until the peer is gone.
func answering(t *testing.T, b []byte) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the listener
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write(b)
			_, _ = conn.Read(make([]byte, 1024))
			conn.Close()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

func TestCallBadAnswers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for name, tt := range map[string]struct {
		b    []byte
		want string
	}{
		"another protocol": {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), "an answer of"},
		"nothing":          {nil, ""},
		"empty record":     {[]byte{0x80, 0, 0, 0}, errAnswer.Error()},
		"half a record":    {[]byte{0x80, 0, 0, 9, 1}, ""},
	} {
		to := answering(t, tt.b)
		r, err := dialRPC(ctx, to.Addr(), int(to.Port()))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.call(nfsProgram, 0, nil)
		r.conn.Close()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}

func words(v ...uint32) []byte {
	var b []byte
	for _, w := range v {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

func TestResults(t *testing.T) {
	for _, tt := range []struct {
		name  string
		reply []byte
		want  string // of the error; "" for none
	}{
		{"accepted", words(7, 1, 0, 0, 0, 0, 42), ""},
		{"accepted, with a verifier", words(7, 1, 0, 1, 3, 0xabcdef00, 0, 42), ""},
		{"of another call", words(8, 1, 0, 0, 0, 0, 42), "RPC server"},
		{"a call", words(7, 0, 0, 0, 0, 0, 42), "RPC server"},
		{"denied", words(7, 1, 1, 0), "denies"},
		{"no such program", words(7, 1, 0, 0, 0, 1), "version 3"},
		{"garbage", words(7, 1, 0, 0, 0, 4), "status 4"},
		{"short", words(7, 1, 0), "RPC server"},
		{"verifier beyond the end", words(7, 1, 0, 0, 0xfffffffd), "RPC server"},
	} {
		got, err := results(tt.reply, 7)
		if tt.want == "" {
			if err != nil || !bytes.Equal(got, words(42)) {
				t.Errorf("%s: got %v, %v", tt.name, got, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

// No reply makes the decoder read beyond its end.
func FuzzResults(f *testing.F) {
	f.Add(words(7, 1, 0, 0, 0, 0, 0, 5, 1, 2), uint32(7))
	f.Add(words(7, 1, 0, 0, 0xffffffff), uint32(7))
	f.Fuzz(func(t *testing.T, b []byte, xid uint32) {
		rest, err := results(b, xid)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b, rest) {
			t.Fatalf("%x is not the end of %x", rest, b)
		}
		d := decoder{b: rest}
		if v := d.opaque(); !d.short && !bytes.HasPrefix(rest, opaque(v)[:4+len(v)]) {
			t.Errorf("%x does not begin with %x", rest, opaque(v))
		}
	})
}
