package multiline

import "bytes"

// The phases of go: open before the first stack, more in one, blank behind an empty
// line in or before one.

func goBegin(line []byte, _ bool) phase {
	if len(line) > 0 && bytes.IndexByte([]byte("gpfruSWc\t"), line[0]) >= 0 {
		switch {
		case goroutine(line), has(line, "runtime stack:"), has(line, "created by "), line[0] == '\t' && bytes.Contains(line, []byte(".go:")):
			return more
		case has(line, "panic: "), has(line, "fatal error: "), has(line, "runtime: "), has(line, "unexpected fault address "),
			has(line, "SIGQUIT: "), has(line, "SIGABRT: "), has(line, "SIGSEGV: "), has(line, "WARNING: DATA RACE"):
			return open
		}
	}
	return when(bytes.Contains(line[:min(len(line), 64)], []byte("http: panic serving "))) // behind a date
}

func goNext(p phase, line []byte) phase {
	switch {
	case len(line) == 0:
		return next(p != blank, blank)
	case indented(line):
		return p
	case has(line, "panic: "): // one panic in another is indented
		return none
	case goroutine(line), has(line, "runtime stack:"):
		return next(p != more, more) // in a dump, stacks stand apart
	case p == open:
		return next(has(line, "[signal ") || has(line, "fatal error: ") || has(line, "runtime: ") || has(line, "PC=") || raceLine(line), open)
	case p == blank:
		return next(has(line, "exit status ") || has(line, "fatal error: ") || register(line) || raceLine(line), more)
	case goCall(line), has(line, "created by "), has(line, "exit status "), has(line, "..."), has(line, "[originating "), register(line), raceLine(line):
		return more
	}
	return none
}

// goroutine tells whether the line is the head of a stack: goroutine 17 [running]:
func goroutine(line []byte) bool {
	rest := after(line, "goroutine ")
	return len(rest) > 0 && digit(rest[0]) && bytes.HasSuffix(line, []byte("]:"))
}

// goCall tells whether the line is a call in a stack: main.(*shop).pay(0x17, ...)
func goCall(line []byte) bool {
	if line[len(line)-1] != ')' {
		return false
	}
	if has(line, "panic(") {
		return true
	}
	args := bytes.IndexByte(line, '(')
	name := line[:max(args, 0)]
	return bytes.IndexByte(name, '.') > 0 && bytes.IndexByte(name, ' ') < 0
}

// register tells whether the line shows one, as runtimes do at the end: rax    0xca
func register(line []byte) bool {
	n := 0
	for n < len(line) && (letter(line[n]) || digit(line[n])) {
		n++
	}
	return n > 0 && n < 8 && has(unindent(line[n:]), "0x") && n < len(line) && line[n] == ' '
}

// raceLine tells whether the line is the head of a section of the race detector.
func raceLine(line []byte) bool {
	return has(line, "Read at 0x") || has(line, "Write at 0x") || has(line, "Previous ") || has(line, "Goroutine ") || has(line, "====")
}
