package diagnose

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Printer writes results for people. The first error of writing is kept.
type Printer struct {
	// Out is where results go; Color is for terminals.
	Out   io.Writer
	Color bool
	// Progress is a terminal on which a line may be overwritten; nil = there is none.
	Progress io.Writer

	ticking bool
	begun   bool // something was written
	err     error
}

// Err is the first error of writing.
func (p *Printer) Err() error { return p.err }

const (
	bold  = "1"
	red   = "31"
	green = "32"
	amber = "33"
)

func (p *Printer) paint(code, text string) string {
	if !p.Color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// line writes a line, over what tells of progress.
func (p *Printer) line(text string) {
	p.clear()
	p.begun = true
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.Out, strings.TrimRight(text, " "))
	}
}

// Line writes a line.
func (p *Printer) Line(text string) { p.line(text) }

// gap separates from what was written before, if anything was.
func (p *Printer) gap() {
	if p.begun {
		p.line("")
	}
}

// section writes a heading and a table under it; nothing where there are no rows.
// Columns whose names begin with > are numbers, on the right.
func (p *Printer) section(heading string, columns []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.gap()
	p.line(p.paint(bold, heading))
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(strings.TrimPrefix(c, ">"))
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	write := func(cells []string) {
		var b strings.Builder
		for i, cell := range cells {
			space := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
			if strings.HasPrefix(columns[i], ">") {
				b.WriteString("  " + space + cell)
			} else {
				b.WriteString("  " + cell + space)
			}
		}
		p.line(b.String())
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = strings.TrimPrefix(c, ">")
	}
	write(names)
	for _, row := range rows {
		write(row)
	}
}

// verdict writes the last line.
func (p *Printer) verdict(v Verdict) {
	p.gap()
	code := amber
	switch v.Finding {
	case NoLeak:
		code = green
	case Leak:
		code = red
	case Suspicion, TooShort:
	}
	p.line(p.paint(code, v.Text))
}
