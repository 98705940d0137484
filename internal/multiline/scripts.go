package multiline

import "bytes"

// The phases of python: open in the stack, more behind the line with the error and in a
// group of errors, which has no such line, blank behind an empty line after it, chained
// before the next Traceback.

// errorGroup begins a group of errors, all of which is indented.
const errorGroup = "  + Exception Group "

func pythonBegin(line []byte, _ bool) phase {
	switch {
	case has(line, errorGroup):
		return more
	case traceback(line), has(unindent(line), `File "`):
		return open
	case has(line, "Exception in thread "), has(line, "Exception ignored "), has(line, "--- Logging error ---"), pythonLink(line):
		return chained
	}
	return none
}

func pythonNext(p phase, line []byte) phase {
	switch {
	case has(line, errorGroup):
		return next(p == chained, more)
	case !indented(line) && traceback(line):
		return next(p == chained, open)
	case indented(line):
		return p
	case len(line) == 0 && p == chained:
		return chained
	case len(line) == 0:
		return next(p == more, blank)
	case p == open && pythonError(line):
		return more
	case p == more && has(line, "Call stack:"): // of the logging package, when it fails
		return open
	case p == more && has(line, "Arguments: "):
		return more
	case p == blank && pythonLink(line):
		return chained
	}
	return none
}

func next(goesOn bool, p phase) phase {
	if goesOn {
		return p
	}
	return none
}

// pythonLink tells whether the line joins two traces of one error.
func pythonLink(line []byte) bool {
	return has(line, "During handling of the above exception") || has(line, "The above exception was the direct cause")
}

// pythonError tells whether the line ends a trace: a name, alone or with a colon. The
// names of levels are not among them: "INFO:root:ready" is another line.
func pythonError(line []byte) bool {
	n := 0
	for n < len(line) && (letter(line[n]) || digit(line[n]) || bytes.IndexByte([]byte("_.<>"), line[n]) >= 0 || line[n] >= 0x80) {
		n++
	}
	if n == 0 || digit(line[0]) || n < len(line) && line[n] != ':' {
		return false
	}
	switch string(line[:n]) {
	case "DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL":
		return false
	}
	return true
}

// The phases of ruby: open in a trace, blank behind an empty line in it.

func rubyBegin(line []byte, names bool) phase {
	if names || rubyFrame(line) || indented(line) && has(unindent(line), "from ") || traceback(line) || has(line, "#<Thread:") {
		return open
	}
	return none
}

func rubyNext(p phase, line []byte) phase {
	switch {
	case indented(line), rubyFrame(line):
		return open
	case len(line) == 0 && p == open:
		return blank // error_highlight and did_you_mean put one behind the message
	case has(line, "Did you mean?"):
		return open
	}
	return none
}

// rubyFrame tells whether the line begins with a place in a program, as in
// app/shop.rb:17:in 'Shop#pay'.
func rubyFrame(line []byte) bool {
	i := bytes.IndexByte(line, ' ')
	if i < 5 || i+1 == len(line) || string(line[i-3:i]) != ":in" || !digit(line[i-4]) {
		return false
	}
	return line[i+1] == '`' || line[i+1] == '\''
}

// The phases of node: open in a trace. For an error that nobody caught: code behind the
// name of the file, mark behind the line of the program, chained behind the mark below
// that line, more in the error itself, blank behind the empty line before the end.

func nodeBegin(line []byte, names bool) phase {
	switch {
	case sourcePlace(line):
		return code
	case names, frame(line), has(line, "FATAL ERROR: "), has(line, "Uncaught:"):
		return open
	}
	return none
}

func nodeNext(p phase, line []byte) phase {
	empty := len(line) == 0
	switch {
	case p == code:
		return next(!empty && !sourcePlace(line), mark)
	case p == mark:
		return next(!empty && len(bytes.Trim(line, " \t^")) == 0, chained)
	case p == chained && empty:
		return chained
	case p == chained:
		return more
	case empty:
		return next(p == more, blank)
	case p == blank:
		return next(has(line, "Node.js v") || indented(line), open)
	case indented(line), string(line) == "}", string(line) == "]", has(line, "(Use `node --trace"):
		return p
	}
	return none
}

// sourcePlace tells whether the line is a place in a program and nothing else, which is
// how node begins to tell of an error that nobody caught: /app/shop.js:17.
func sourcePlace(line []byte) bool {
	if !has(line, "/") && !has(line, "file:///") && !has(line, "node:") && !has(line, "[eval]:") {
		return false
	}
	n := len(line)
	for n > 0 && digit(line[n-1]) {
		n--
	}
	return n < len(line) && n > 0 && line[n-1] == ':' && bytes.IndexByte(line, ' ') < 0
}
