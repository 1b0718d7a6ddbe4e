package roles

import "text/template/parse"

// inspect calls fn for n and every node below it.
func inspect(n parse.Node, fn func(parse.Node)) {
	fn(n)
	list := func(l *parse.ListNode) {
		if l != nil {
			inspect(l, fn)
		}
	}
	pipe := func(p *parse.PipeNode) {
		if p != nil {
			inspect(p, fn)
		}
	}
	branch := func(b *parse.BranchNode) {
		pipe(b.Pipe)
		list(b.List)
		list(b.ElseList)
	}
	switch n := n.(type) {
	case *parse.ListNode:
		for _, e := range n.Nodes {
			inspect(e, fn)
		}
	case *parse.ActionNode:
		pipe(n.Pipe)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			inspect(c, fn)
		}
	case *parse.CommandNode:
		for _, a := range n.Args {
			inspect(a, fn)
		}
	case *parse.ChainNode:
		inspect(n.Node, fn)
	case *parse.TemplateNode:
		pipe(n.Pipe)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	}
}

// asks gives the names of the secrets that the template asks for in so many words, each with a line, also where
// it does not come to that.
func (p parsed) asks() map[string]int {
	out := map[string]int{}
	for _, t := range p.Templates() {
		if t.Tree == nil {
			continue
		}
		inspect(t.Root, func(n parse.Node) {
			pipe, ok := n.(*parse.PipeNode)
			if !ok {
				return
			}
			for i, c := range pipe.Cmds {
				id, ok := c.Args[0].(*parse.IdentifierNode)
				if !ok || id.Ident != "secret" && id.Ident != "public" {
					continue
				}
				arg := c.Args[len(c.Args)-1]
				if len(c.Args) == 1 && i > 0 && len(pipe.Cmds[i-1].Args) == 1 {
					arg = pipe.Cmds[i-1].Args[0]
				}
				if s, ok := arg.(*parse.StringNode); ok {
					out[s.Text] = pipe.Line
				}
			}
		})
	}
	return out
}
