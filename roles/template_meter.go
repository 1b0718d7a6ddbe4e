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
	// workMax is what a rendering may cost: a byte that is made is 1. Some 100 ms.
	workMax = 64 << 20
	// turnCost is that of one turn of a loop, of which there are at most 262,144: a pool has 10,000 slots.
	turnCost = 256
	// callCost is that of calling a template. Calls of calls need memory, so there are fewer: 16,384.
	callCost = 4096
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

func (m *meter) tick(cost int) (string, error) { return "", m.spend(cost) }

// turn and call are actions that call tick.
var turn, call = ticking(turnCost), ticking(callCost)

func ticking(cost int) parse.Node {
	t := template.New(tick).Funcs(template.FuncMap{tick: func(int) string { return "" }})
	return template.Must(t.Parse(fmt.Sprintf("{{%s %d}}", tick, cost))).Root.Nodes[0]
}

// watch makes every turn of a loop in t, and every call of t, cost something.
func watch(t *parse.Tree) {
	if t == nil || t.Root == nil {
		return
	}
	loops(t.Root)
	prepend(t.Root, call)
}

func prepend(l *parse.ListNode, n parse.Node) { l.Nodes = append([]parse.Node{n}, l.Nodes...) }

func loops(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			loops(n.List)
			loops(n.ElseList)
			prepend(n.List, turn)
		case *parse.IfNode:
			loops(n.List)
			loops(n.ElseList)
		case *parse.WithNode:
			loops(n.List)
			loops(n.ElseList)
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
