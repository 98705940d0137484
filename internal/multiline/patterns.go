package multiline

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// pattern is a regular expression behind a table of the bytes a match can begin with.
type pattern struct {
	re    *regexp.Regexp
	first *[256]bool // nil when the pattern is not bound to the beginning of the line
}

func compile(expr string) (*pattern, error) {
	if expr == "" {
		return nil, nil
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("compile %q: %w", expr, err)
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("parse %q: %w", expr, err)
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, fmt.Errorf("compile %q: %w", expr, err)
	}
	return &pattern{re: re, first: firstBytes(prog)}, nil
}

func (p *pattern) match(line []byte) bool {
	if p.first != nil && len(line) > 0 && !p.first[line[0]] {
		return false
	}
	return p.re.Match(line)
}

// firstBytes returns which bytes a matching line can begin with, nil when any can.
func firstBytes(prog *syntax.Prog) *[256]bool {
	if prog.StartCond()&syntax.EmptyBeginText == 0 {
		return nil
	}
	var table [256]bool
	for b := 0x80; b < 256; b++ { // part of a rune, or of none: the expression decides
		table[b] = true
	}
	seen, todo := make([]bool, len(prog.Inst)), []uint32{uint32(prog.Start)}
	for len(todo) > 0 {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[at] {
			continue
		}
		seen[at] = true
		switch inst := &prog.Inst[at]; inst.Op {
		case syntax.InstMatch:
			return nil
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, inst.Out, inst.Arg)
		case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth:
			todo = append(todo, inst.Out)
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			for b := range rune(0x80) {
				table[b] = table[b] || matches(inst, b)
			}
		}
	}
	return &table
}

func matches(inst *syntax.Inst, r rune) bool {
	switch inst.Op {
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return inst.MatchRune(r)
}

// patterns makes the rule of start and continue, of which one may be empty. Lines that
// go on an entry whose beginning was never seen are one entry among themselves.
func patterns(start, cont string) (rule, error) {
	s, err := compile(start)
	if err != nil {
		return rule{}, err
	}
	c, err := compile(cont)
	if err != nil {
		return rule{}, err
	}
	r := rule{family: custom}
	switch {
	case c == nil:
		r.begin = func([]byte, bool) phase { return open }
		r.next = func(_ phase, line []byte) phase { return when(!s.match(line)) }
	case s == nil:
		r.begin = func([]byte, bool) phase { return open }
		r.next = func(_ phase, line []byte) phase { return when(c.match(line)) }
	default:
		r.begin = func(line []byte, _ bool) phase { return when(s.match(line) || c.match(line)) }
		r.next = func(_ phase, line []byte) phase { return when(!s.match(line) && c.match(line)) }
	}
	return r, nil
}

func when(goesOn bool) phase {
	if goesOn {
		return open
	}
	return none
}
