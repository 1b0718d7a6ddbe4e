package state

import "errors"

// fault is an error that reads as one sentence, without the words of its kind, which is an io/fs error.
type fault struct {
	text string
	kind error
}

// Error implements error.
func (f *fault) Error() string { return f.text }

// Unwrap gives the kind to errors.Is.
func (f *fault) Unwrap() error { return f.kind }

// errForeign is returned by a backend that holds another revision than the store's last one: somebody else
// wrote, or a commit that was reported as failed took place after all.
var errForeign = errors.New("the stored state is not the one in memory: restart to read it anew")
