package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

// judgeIsolation names the component whose absence ends the growth, of the first measure
// for which there is one.
func judgeIsolation(o Isolation) Verdict {
	if len(o.Base.Moved) == 0 {
		return Verdict{Finding: TooShort, Text: "nothing can be told: it ended before anything was measured"}
	}
	growing := o.Base.growing()
	if len(growing) == 0 && o.Stopped != "" {
		return Verdict{Finding: TooShort, Text: "nothing can be told: it ended before enough was measured"}
	}
	if len(growing) == 0 {
		return Verdict{Finding: NoLeak, Text: "no leak: nothing grows with all components on, and so none was switched off; a slow leak needs a longer --for"}
	}
	best := Verdict{}
	for n, m := range growing {
		v, named := judgeMeasure(o, m)
		if named {
			best = v
			break
		}
		if n == 0 {
			best = v
		}
	}
	if o.Stopped != "" {
		best.Text += "; not all components were tried"
	}
	return best
}

// judgeMeasure tells whose growth of one measure is, and whether it could.
func judgeMeasure(o Isolation, m Measure) (Verdict, bool) {
	with := o.Base.Moved[m]
	v := Verdict{Finding: Leak, Text: fmt.Sprintf("leak: %s grow by %s a minute", units.Printable(string(m)), amount(m, with.PerMinute))}
	if !o.Base.sure(m) {
		v.Finding, v.Text = Suspicion, "perhaps a leak"+strings.TrimPrefix(v.Text, "leak")
	}
	if m == LiveHeap {
		v.Text = strings.Replace(v.Text, " grow ", " grows ", 1)
	}
	if o.Again != nil && stops(with, o.Again.Moved[m]) {
		v.Finding = Suspicion
		v.Text = fmt.Sprintf("nothing can be told: %s grew by %s a minute at first, and not any more with all components on again; run it once more", units.Printable(string(m)), amount(m, with.PerMinute))
		return v, false
	}
	var whole, part []string
	for _, p := range o.Phases {
		switch got, measured := p.Moved[m]; {
		case p.Error != "" || !measured:
		case stops(with, got):
			whole = append(whole, p.Without)
		case share(with, got) >= someOfIt:
			part = append(part, fmt.Sprintf("%s (%.0f %%)", units.Printable(p.Without), 100*share(with, got)))
		}
	}
	switch {
	case len(whole) == 1:
		v.Component = whole[0]
		v.Text += fmt.Sprintf(", and without %s they do not: it is %s", units.Printable(whole[0]), units.Printable(whole[0]))
		if m == LiveHeap {
			v.Text = strings.Replace(v.Text, "they do not", "it does not", 1)
		}
		if v.Finding == Suspicion {
			v.Text += ", or its load"
		}
		return v, true
	case len(whole) > 1 && slices.Contains(whole, o.Labelled):
		v.Component = o.Labelled
		v.Text += fmt.Sprintf("; without %s it ends, each alone, and what grows bears the label of %s: it is probably that, and the others only feed it", units.Printable(list(whole)), units.Printable(o.Labelled))
		return v, true
	case len(whole) > 1:
		v.Text += fmt.Sprintf("; without %s it ends, each alone: one feeds the other, and which it is cannot be told", units.Printable(list(whole)))
	case len(part) > 0:
		v.Text += "; no component alone ends it, and without these a part is missing: " + list(part)
	default:
		v.Text += ", whichever component is off: it is none of those that were"
	}
	if o.Labelled != "" && len(whole) != 1 {
		v.Text += "; by its label it is " + units.Printable(o.Labelled) + "'s"
	}
	return v, false
}

func amount(m Measure, x float64) string {
	if m == LiveHeap {
		return size(x)
	}
	return number(x)
}

func list(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// Isolation writes the outcome.
func (p *Printer) Isolation(o Isolation) {
	for _, m := range o.Base.growing() {
		with := o.Base.Moved[m]
		var rows [][]string
		for _, ph := range o.Phases {
			got, measured := ph.Moved[m]
			row := []string{component(ph.Without), signedAmount(m, with.PerMinute), signedAmount(m, got.PerMinute), difference(with, got)}
			if ph.Error != "" || !measured {
				row[2], row[3] = "-", "not measured"
			}
			rows = append(rows, row)
		}
		if o.Again != nil {
			rows = append(rows, []string{"(all on again)", signedAmount(m, with.PerMinute), signedAmount(m, o.Again.Moved[m].PerMinute), difference(with, o.Again.Moved[m])})
		}
		p.section("Growth a minute: "+units.Printable(string(m)), []string{"COMPONENT", ">WITH", ">WITHOUT", "VERDICT"}, rows)
	}
	if len(o.Skipped) > 0 {
		p.line("")
		p.line("off before, and left so: " + units.Printable(list(o.Skipped)))
	}
	if o.Stopped != "" {
		p.line("")
		p.line("ended before its time: " + units.Printable(o.Stopped))
	}
	p.verdict(o.Verdict)
}

func signedAmount(m Measure, x float64) string {
	if m != LiveHeap {
		return signed(x)
	}
	if x > 0 {
		return "+" + size(x)
	}
	return size(x)
}

func difference(with, got Trend) string {
	switch s := share(with, got); {
	case stops(with, got):
		return "it stops"
	case s >= someOfIt:
		return fmt.Sprintf("%.0f %% less", 100*s)
	case s <= -someOfIt:
		return fmt.Sprintf("%.0f %% more", -100*s)
	default:
		return "no difference"
	}
}
