package doctor

import (
	"fmt"
	"io"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

// TableOptions are for people's eyes.
type TableOptions struct {
	// Color is for terminals. Width is theirs, in columns; 0 = lines are not broken.
	Color bool
	Width int
	// All lists every container by itself; else those of a long list that are alike share
	// a row.
	All bool
}

const (
	// nameWidth is the most that a name takes in a table.
	nameWidth = 40
	// levelWidth is that of a level and the space behind it.
	levelWidth = len("warn  ")
)

// table writes a report. The first error of writing is kept.
type table struct {
	out   io.Writer
	opts  TableOptions
	blank bool // the last line is
	err   error
}

// WriteTable writes the report for people. Names and texts from outside cannot steer
// the terminal.
func WriteTable(out io.Writer, r Report, opts TableOptions) error {
	t := &table{out: out, opts: opts}
	t.section(sectionConfig, r.Checks)
	t.section(sectionEngine, r.Checks)
	t.containers(r)
	for _, section := range []string{sectionFiles, sectionJournal, sectionSinks, sectionAgent, sectionLimits} {
		t.section(section, r.Checks)
	}
	t.verdict(r)
	return t.err
}

func (t *table) line(indent int, text string) {
	if t.err == nil {
		_, t.err = fmt.Fprintln(t.out, strings.TrimRight(strings.Repeat(" ", indent)+text, " "))
	}
	t.blank = false
}

// gap separates by one blank line, however often it is asked for.
func (t *table) gap() {
	if !t.blank {
		t.line(0, "")
	}
	t.blank = true
}

// text writes cleaned text that begins with a lead, broken at the width; all lines
// but the first are indented further by the lead's width.
func (t *table) text(indent int, lead, shownLead, text string) {
	for i, part := range wrap(units.Printable(text), t.opts.Width-indent-width(lead)) {
		if i == 0 {
			t.line(indent, shownLead+part)
		} else {
			t.line(indent+width(lead), part)
		}
	}
}

const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (t *table) paint(code, text string) string {
	if !t.opts.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// level writes a level, padded.
func (t *table) level(l Level) string {
	code := map[Level]string{OK: green, Warn: yellow, Fail: red}[l]
	return t.paint(code, string(l)) + strings.Repeat(" ", levelWidth-len(l))
}

func (t *table) heading(text string) { t.line(0, t.paint(bold, text)) }

// section writes the checks of a section, if it has any.
func (t *table) section(name string, checks []Check) {
	names, has := 0, false
	for _, c := range checks {
		if c.Section == name {
			names, has = max(names, min(nameWidth, width(units.Printable(c.Name)))), true
		}
	}
	if !has {
		return
	}
	t.heading(name)
	for _, c := range checks {
		if c.Section != name {
			continue
		}
		lead := pad(shorten(units.Printable(c.Name), nameWidth), names) + "  "
		t.text(2, strings.Repeat(" ", levelWidth)+lead, t.level(c.Level)+lead, c.Found)
		t.fix(2+levelWidth+width(lead), c.Fix)
	}
	t.gap()
}

func (t *table) fix(indent int, fix string) {
	if fix != "" {
		t.text(indent, "fix: ", t.paint(cyan, "fix: "), fix)
	}
}

// verdict is the last line.
func (t *table) verdict(r Report) {
	warns, fails := 0, 0
	count1 := func(l Level) {
		switch l {
		case Warn:
			warns++
		case Fail:
			fails++
		case OK:
		}
	}
	for _, c := range r.Checks {
		count1(c.Level)
	}
	for _, n := range notes(r.Containers) {
		count1(n.Level)
	}
	switch {
	case fails > 0 && warns > 0:
		t.line(0, t.paint(red, fmt.Sprintf("Not ready: %s, %s.", count(fails, "failure", "failures"), count(warns, "warning", "warnings"))))
	case fails > 0:
		t.line(0, t.paint(red, fmt.Sprintf("Not ready: %s.", count(fails, "failure", "failures"))))
	case warns > 0:
		t.line(0, t.paint(yellow, fmt.Sprintf("Ready, with %s.", count(warns, "warning", "warnings"))))
	default:
		t.line(0, t.paint(green, "Ready: nothing to mend."))
	}
}
