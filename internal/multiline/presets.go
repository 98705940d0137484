package multiline

import "bytes"

// phase is where in an entry of its family a pending line stands. Each family has its
// own beyond open.
type phase uint8

const (
	none phase = iota // not in an entry
	open              // in one
	more              // the family's own
	blank
	chained
	code
	mark
)

// family is an index into the phases of a State.
type family uint8

const (
	java family = iota
	python
	golang
	ruby
	dotnet
	node
	indents
	families
	custom = indents // patterns never stand beside presets
)

// presets are the ready-made rules. Heads are taken generously: a line that is taken
// for one by mistake waits for the next line, and is otherwise as it was. What goes on
// an entry is taken strictly, but for indented lines: they always do.
var presets = map[string]rule{
	"java":     {family: java, begin: javaBegin, next: javaNext, names: true},
	"python":   {family: python, begin: pythonBegin, next: pythonNext},
	"go":       {family: golang, begin: goBegin, next: goNext},
	"ruby":     {family: ruby, begin: rubyBegin, next: rubyNext, names: true},
	"dotnet":   {family: dotnet, begin: dotnetBegin, next: dotnetNext, names: true},
	"node":     {family: node, begin: nodeBegin, next: nodeNext, names: true},
	"indented": {family: indents, begin: func([]byte, bool) phase { return open }, next: func(_ phase, line []byte) phase { return when(indented(line)) }},
}

// namesError tells whether a word of the line ends with Error or Exception, as the names
// of most errors do.
func namesError(line []byte) bool {
	for {
		i := bytes.IndexByte(line, 'E')
		if i < 0 {
			return false
		}
		line = line[i+1:]
		rest := after(line, "rror")
		if rest == nil {
			rest = after(line, "xception")
		}
		if rest != nil && (len(rest) == 0 || !letter(rest[0])) {
			return true
		}
	}
}

// traceback tells whether the line ends like the first one of a trace in Python, and in
// Ruby where it is the other way round.
func traceback(line []byte) bool {
	return bytes.HasSuffix(line, []byte("Traceback (most recent call last):"))
}

func indented(line []byte) bool { return len(line) > 0 && (line[0] == ' ' || line[0] == '\t') }

func letter(b byte) bool { return b|0x20 >= 'a' && b|0x20 <= 'z' }

func digit(b byte) bool { return b >= '0' && b <= '9' }

// unindent returns the line without the white space in front.
func unindent(line []byte) []byte {
	for indented(line) {
		line = line[1:]
	}
	return line
}

func has(line []byte, prefix string) bool {
	return len(line) >= len(prefix) && string(line[:len(prefix)]) == prefix
}

// after cuts the prefix, and returns nil when the line does not begin with it.
func after(line []byte, prefix string) []byte {
	if !has(line, prefix) {
		return nil
	}
	return line[len(prefix):]
}

// frame tells whether the line is one of a stack as java, .NET and node print them.
func frame(line []byte) bool { return indented(line) && has(unindent(line), "at ") }

// dotted tells whether the line begins with a name such as com.acme.Shop$Full, with
// nothing or a colon behind it.
func dotted(line []byte) bool {
	if len(line) == 0 || !letter(line[0]) {
		return false
	}
	dots, last := 0, byte(0)
	for _, b := range line {
		switch {
		case b == '.':
			dots++
		case b == ':':
			return dots > 0 && last != '.'
		case !letter(b) && !digit(b) && b != '_' && b != '$':
			return false
		}
		last = b
	}
	return dots > 1 && last != '.'
}
