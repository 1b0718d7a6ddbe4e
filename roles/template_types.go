package roles

import (
	"fmt"
	"reflect"
	"strings"
	"text/template/parse"
)

// faults gives what the template says of fields that do not exist, also where no slot comes to it. What only
// the rack can tell (variables, the names of pools) shows when it is rendered.
func (p parsed) faults() []error {
	c := typer{parsed: p, seen: map[string]bool{}}
	c.call(templateName, reflect.TypeFor[FileData]())
	return c.errs
}

// typer follows the types of a template. A nil type is one that is not known.
type typer struct {
	parsed
	line int
	vars []variable // the innermost last
	seen map[string]bool
	errs []error
}

type variable struct {
	name string
	t    reflect.Type
}

// call looks at a template that is called with dot, once.
func (c *typer) call(name string, dot reflect.Type) {
	t := c.Lookup(name)
	id := fmt.Sprint(name, " ", dot)
	if t == nil || t.Tree == nil || c.seen[id] {
		return
	}
	c.seen[id] = true
	outer := c.vars
	c.vars = []variable{{"$", dot}}
	c.list(t.Root, dot)
	c.vars = outer
}

func (c *typer) list(l *parse.ListNode, dot reflect.Type) {
	if l == nil {
		return
	}
	outer := len(c.vars)
	for _, n := range l.Nodes {
		c.node(n, dot)
	}
	c.vars = c.vars[:outer]
}

func (c *typer) node(n parse.Node, dot reflect.Type) {
	outer := len(c.vars)
	switch n := n.(type) {
	case *parse.ActionNode:
		c.pipe(n.Pipe, dot)
		return // its variables go on after it
	case *parse.IfNode:
		c.pipe(n.Pipe, dot)
		c.list(n.List, dot)
		c.list(n.ElseList, dot)
	case *parse.WithNode:
		t := c.pipe(n.Pipe, dot)
		c.list(n.List, t)
		c.list(n.ElseList, dot)
	case *parse.RangeNode:
		t := element(c.pipe(n.Pipe, dot))
		for i, v := range n.Pipe.Decl {
			if i == len(n.Pipe.Decl)-1 && !n.Pipe.IsAssign {
				c.set(v.Ident[0], t)
			} else {
				c.set(v.Ident[0], nil) // the place in a list, the key of a map, or an older variable
			}
		}
		c.list(n.List, t)
		c.list(n.ElseList, dot)
	case *parse.TemplateNode:
		var t reflect.Type
		if n.Pipe != nil {
			t = c.pipe(n.Pipe, dot)
		}
		c.call(n.Name, t)
	}
	c.vars = c.vars[:outer]
}

// pipe gives the type of a pipeline's value, and keeps its variables.
func (c *typer) pipe(p *parse.PipeNode, dot reflect.Type) reflect.Type {
	c.line = p.Line
	var t reflect.Type
	for _, cmd := range p.Cmds {
		t = c.command(cmd, dot)
	}
	for _, v := range p.Decl {
		if !p.IsAssign {
			c.vars = append(c.vars, variable{v.Ident[0], t})
			continue
		}
		if c.vars[c.find(v.Ident[0])].t != t {
			c.set(v.Ident[0], nil) // now this, now that
		}
	}
	return t
}

// find is the place of a variable, and that of $ for one that there is not, which no parser lets through.
func (c *typer) find(name string) int {
	for i := len(c.vars) - 1; i > 0; i-- {
		if c.vars[i].name == name {
			return i
		}
	}
	return 0
}

func (c *typer) set(name string, t reflect.Type) { c.vars[c.find(name)].t = t }

func (c *typer) command(cmd *parse.CommandNode, dot reflect.Type) reflect.Type {
	var types []reflect.Type
	for _, a := range cmd.Args {
		types = append(types, c.value(a, dot))
	}
	id, ok := cmd.Args[0].(*parse.IdentifierNode)
	if !ok {
		return types[0]
	}
	if id.Ident == "index" && len(types) > 1 {
		t := types[1]
		for range types[2:] {
			t = element(t)
		}
		return t
	}
	return nil
}

func (c *typer) value(n parse.Node, dot reflect.Type) reflect.Type {
	switch n := n.(type) {
	case *parse.DotNode:
		return dot
	case *parse.FieldNode:
		return c.chain(dot, n.Ident)
	case *parse.VariableNode:
		return c.chain(c.vars[c.find(n.Ident[0])].t, n.Ident[1:])
	case *parse.ChainNode:
		return c.chain(c.value(n.Node, dot), n.Field)
	case *parse.PipeNode:
		return c.pipe(n, dot)
	}
	return nil
}

func (c *typer) chain(t reflect.Type, names []string) reflect.Type {
	for _, name := range names {
		if t == nil || t.Kind() == reflect.Interface {
			return nil
		}
		if m, ok := t.MethodByName(name); ok {
			t = m.Type.Out(0)
			continue
		}
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Map:
			t = t.Elem()
			continue
		case reflect.Struct:
			if f, ok := t.FieldByName(name); ok && f.IsExported() {
				t = f.Type
				continue
			}
		}
		c.errs = append(c.errs, &templateError{c.line, fmt.Sprintf(".%s: %s has no such field%s", name, typeName(t), fieldsOf(t))})
		return nil
	}
	return t
}

// element is the type of what a range or an index gives.
func element(t reflect.Type) reflect.Type {
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Map) {
		return t.Elem()
	}
	return nil
}

// typeName is what people call a type.
func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[FileData]():
		return "a file's data"
	case reflect.TypeFor[PoolData]():
		return "a pool"
	case reflect.TypeFor[Member]():
		return "a slot"
	case reflect.TypeFor[PairSpec]():
		return "a storage pair"
	case reflect.TypeFor[DiskRule]():
		return "a rule for disks"
	}
	if t.Kind() == reflect.Slice {
		return "a list"
	}
	return "a " + t.String()
}

// fieldsOf lists the fields of one of our types.
func fieldsOf(t reflect.Type) string {
	var names []string
	if t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[FileData]().PkgPath() {
		for f := range t.Fields() {
			names = append(names, f.Name)
		}
		return " (it has " + strings.Join(names, ", ") + ")"
	}
	return ""
}
