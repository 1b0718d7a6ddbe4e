package roles

import (
	"bytes"
	"fmt"
	"text/template"
	"text/template/parse"
)

// meter bounds what one rendering costs: text/template itself would loop for ever, or fill the memory, over a
// template with a slip in it.
type meter struct {
	spent  int
	secret bool // a secret was asked for
}

// meterError says that a template wants too much.
type meterError struct{ text string }

// Error implements error.
func (e *meterError) Error() string { return e.text }

const (
	// workMax is what a rendering may cost: a byte that a function makes is 1. Some 100 ms.
	workMax = 128 << 20
	// turnCost is that of one turn of a loop: a million turns are too many.
	turnCost = 128
)

func (m *meter) spend(n int) error {
	if m.spent += n; m.spent > workMax {
		return &meterError{"does too much: does a loop in it end?"}
	}
	return nil
}

// text passes on what a function made.
func (m *meter) text(s string) (string, error) {
	if len(s) > fileMax {
		return "", &meterError{fmt.Sprintf("makes a text of more than %d MiB", fileMax>>20)}
	}
	return s, m.spend(len(s))
}

// tick is the function that watch puts into every loop and template.
const tick = "_tick"

func (m *meter) tick() (string, error) { return "", m.spend(turnCost) }

// ticking is an action that calls tick.
var ticking = func() parse.Node {
	t := template.Must(template.New(tick).Funcs(template.FuncMap{tick: func() string { return "" }}).Parse("{{" + tick + "}}"))
	return t.Root.Nodes[0]
}()

// watch makes every turn of a loop in t, and every call of t, cost something.
func (m *meter) watch(t *parse.Tree) {
	if t == nil || t.Root == nil {
		return
	}
	m.loops(t.Root)
	prepend(t.Root)
}

func prepend(l *parse.ListNode) { l.Nodes = append([]parse.Node{ticking}, l.Nodes...) }

func (m *meter) loops(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			m.loops(n.List)
			m.loops(n.ElseList)
			prepend(n.List)
		case *parse.IfNode:
			m.loops(n.List)
			m.loops(n.ElseList)
		case *parse.WithNode:
			m.loops(n.List)
			m.loops(n.ElseList)
		}
	}
}

// bounded is a buffer that does not grow above fileMax.
type bounded struct {
	*bytes.Buffer
	meter *meter
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > fileMax {
		return 0, &meterError{fmt.Sprintf("makes a file of more than %d MiB", fileMax>>20)}
	}
	if err := b.meter.spend(len(p)); err != nil {
		return 0, err
	}
	return b.Buffer.Write(p)
}
