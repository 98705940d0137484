package diagnose

import (
	"fmt"
	"time"
)

// Tick shows how long it still takes, where there is a terminal.
func (p *Printer) Tick(doing string, left time.Duration) {
	if p.Progress == nil {
		return
	}
	if doing != "" {
		doing += ", "
	}
	p.ticking = true
	fmt.Fprintf(p.Progress, "\r\x1b[K%s%s left; Ctrl-C ends it with what is known", doing, left.Round(time.Second))
}

// clear takes the line of progress away.
func (p *Printer) clear() {
	if p.ticking {
		p.ticking = false
		fmt.Fprint(p.Progress, "\r\x1b[K")
	}
}

// Done takes the line of progress away for good.
func (p *Printer) Done() { p.clear() }
