package multiline

// The phases of java: open in a trace, more in a dump of all threads.

func javaBegin(line []byte, names bool) phase {
	switch {
	case names, frame(line), dotted(line), javaSection(unindent(line)):
		return open
	case has(line, "Full thread dump "):
		return more
	}
	return none
}

func javaNext(p phase, line []byte) phase {
	switch {
	case indented(line), javaSection(line):
		return p
	case p == more && dumpLine(line):
		return more
	}
	return none
}

// javaSection tells whether the line goes on with another part of the same throwable.
func javaSection(line []byte) bool {
	if rest := after(line, "... "); len(rest) > 0 && digit(rest[0]) {
		return true
	}
	return has(line, "Caused by: ") || has(line, "Wrapped by: ") || has(line, "Suppressed: ") || has(line, "[CIRCULAR REFERENCE")
}

// dumpLine tells whether an unindented line is part of a thread dump.
func dumpLine(line []byte) bool {
	if len(line) == 0 {
		return true
	}
	switch line[0] {
	case '"', '}', '=', '-':
		return true
	case '0':
		return has(line, "0x")
	case '_':
		return has(line, "_java_thread_list")
	case 'T':
		return has(line, "Threads class SMR info")
	case 'J':
		return has(line, "JNI global ref") || has(line, "Java stack information")
	case 'F':
		return has(line, "Found ")
	case 'H':
		return string(line) == "Heap"
	}
	return false
}

// The phases of dotnet: open in a trace, blank after the empty line behind an inner
// exception of several.

func dotnetBegin(line []byte, names bool) phase {
	if names || frame(line) || dotted(line) || has(unindent(line), "---> ") || has(unindent(line), "--- End of ") || consoleHead(line) {
		return open
	}
	return none
}

func dotnetNext(p phase, line []byte) phase {
	switch {
	case indented(line), has(line, "---> "), has(line, "--- End of "):
		return open
	case len(line) == 0 && p == open:
		return blank // .NET closes inner exceptions with one; nothing else may follow it
	}
	return none
}

// consoleHead tells whether the line is the first one of the console logger, which
// writes the category first and the message indented below: "fail: Shop.Orders[17]".
func consoleHead(line []byte) bool {
	if len(line) < 7 || line[4] != ':' || line[len(line)-1] != ']' {
		return false
	}
	switch string(line[:4]) {
	case "trce", "dbug", "info", "warn", "fail", "crit":
		return true
	}
	return false
}
