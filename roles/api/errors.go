package api

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"syscall"
)

// ErrUnreachable is returned by a Client when no server answers at its address.
var ErrUnreachable = errors.New("no server answers")

// kindInternal is every error that is none of the io/fs kinds.
const kindInternal = "internal"

// kinds is the one table of errors, read from left to right by the server and from the middle by the client.
// An error that is of several kinds has the first.
var kinds = []struct {
	err    error
	kind   string
	status int
}{
	{fs.ErrNotExist, "not-exist", http.StatusNotFound},
	{fs.ErrExist, "exist", http.StatusConflict},
	{fs.ErrInvalid, "invalid", http.StatusBadRequest},
	{fs.ErrPermission, "permission", http.StatusForbidden},
}

// kindOf gives err's kind and HTTP status.
func kindOf(err error) (kind string, status int) {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.kind, k.status
		}
	}
	return kindInternal, http.StatusInternalServerError
}

// Error is a server's answer that says no. It wraps the io/fs error of its kind.
type Error struct {
	// Status is the HTTP status.
	Status int `json:"-"`
	// Message is the sentence; several faults are one a line.
	Message string `json:"error"`
	// Kind is not-exist, exist, invalid, permission or internal.
	Kind string `json:"kind"`
}

// Error gives the server's sentence as it is.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the io/fs error of the kind; nil for internal.
func (e *Error) Unwrap() error {
	for _, k := range kinds {
		if k.kind == e.Kind {
			return k.err
		}
	}
	return nil
}

// newError puts err on the wire. Internal errors keep their text: whoever reaches this API runs the rack and
// has to act on "no space left on device" (see the package comment on who that is).
func newError(err error) *Error {
	kind, status := kindOf(err)
	return &Error{Status: status, Message: Sentence(err), Kind: kind}
}

// Sentence is err's text for a person: without the words that wrapping an io/fs error adds to it ("…: file
// does not exist", about a pool). An error of the operating system keeps its own.
func Sentence(err error) string {
	text := err.Error()
	if errors.As(err, new(syscall.Errno)) {
		return text
	}
	lines := strings.Split(text, "\n")
	for _, k := range kinds {
		word := k.err.Error()
		for i, l := range lines {
			l = strings.TrimSuffix(strings.TrimPrefix(l, word+": "), ": "+word)
			lines[i] = strings.ReplaceAll(l, ": "+word+": ", ": ")
		}
	}
	return strings.Join(lines, "\n")
}

// writeError answers with err, unless part of an answer has gone out.
func writeError(w http.ResponseWriter, err error) int {
	e := newError(err)
	if asked := (*statusError)(nil); errors.As(err, &asked) {
		e.Status = asked.status
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.Status)
	// The client is gone when this fails; nobody is left to tell.
	_ = json.NewEncoder(w).Encode(e)
	return e.Status
}

// statusError gives an error another status than its kind's, where HTTP has a better word.
type statusError struct {
	error
	status int
}

func (e *statusError) Unwrap() error { return e.error }

// asInvalid makes err a bad request, if it has no kind yet, without changing its text.
func asInvalid(err error) error {
	if kind, _ := kindOf(err); kind != kindInternal {
		return err
	}
	return invalidError{err}
}

type invalidError struct{ error }

func (e invalidError) Unwrap() []error { return []error{e.error, fs.ErrInvalid} }
