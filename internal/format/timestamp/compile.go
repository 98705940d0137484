package timestamp

import (
	"fmt"
	"strings"
)

// compile makes a program of a strptime format or a Go layout.
func compile(format string) (*program, error) {
	p := &program{}
	read := p.layout
	if strings.Contains(format, "%") {
		read = p.strptime
	}
	if err := read(format); err != nil {
		return nil, err
	}
	if missing := p.missing(); missing != "" {
		return nil, fmt.Errorf("timestamp format %q is no known name, and as a format of strptime or a layout of Go (2006-01-02 15:04:05) it has no %s; the names are %s", format, missing, namesText())
	}
	return p, nil
}

// missing names what a time needs and the format lacks.
func (p *program) missing() string {
	switch {
	case p.has[epoch]:
		return ""
	case p.has[yearDay] && !p.has[year] && !p.has[shortYear]:
		return "year for its day of the year"
	case !p.has[month] && !p.has[monthName] && !p.has[yearDay]:
		return "month"
	case !p.has[dayOf] && !p.has[yearDay]:
		return "day"
	case !p.has[hour] && !p.has[hour12]:
		return "hour"
	case p.has[hour12] && !p.has[half]:
		return "AM or PM for its hour of twelve"
	case !p.has[minute]:
		return "minute"
	}
	return ""
}

// composed are strptime's directives that stand for others.
var composed = map[byte]string{'T': "%H:%M:%S", 'F': "%Y-%m-%d", 'D': "%m/%d/%y", 'R': "%H:%M", 'r': "%I:%M:%S %p",
	'c': "%a %b %d %H:%M:%S %Y"}

func (p *program) strptime(format string) error {
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '%' {
			p.add(literal, format[i:i+1])
			continue
		}
		if i++; i == len(format) {
			return fmt.Errorf("timestamp format %q ends with a single %%; write %%%% for the sign itself", format)
		}
		switch c := format[i]; c {
		case 'Y', 'y', 'm', 'b', 'd', 'a', 'H', 'I', 'M', 'S', 'f', 'p', 'z', 'Z', 's', 'j':
			p.add(part(c), "")
		case 'e':
			p.add(dayOf, "")
		case 'B', 'h':
			p.add(monthName, "")
		case 'A':
			p.add(weekday, "")
		case 'k':
			p.add(hour, "")
		case 'l':
			p.add(hour12, "")
		case 'L', 'N':
			p.add(digits, "")
		case 't':
			p.add(literal, "\t")
		case '%':
			p.add(literal, "%")
		default:
			more, ok := composed[c]
			if !ok {
				return fmt.Errorf("timestamp format %q: %%%c is not known; there are %%Y %%y %%m %%b %%d %%e %%a %%j %%H %%I %%M %%S %%f %%p %%z %%Z %%s %%T %%F %%D %%R", format, c)
			}
			if err := p.strptime(more); err != nil {
				return err
			}
		}
	}
	p.pointed()
	return nil
}

// pointed lets the seconds read no fraction where the format names one itself.
func (p *program) pointed() {
	for i := 0; i+2 < len(p.steps); i++ {
		s := p.steps[i : i+3]
		if (s[0].part == second || s[0].part == epoch) && (s[1].text == "." || s[1].text == ",") && s[2].part == digits {
			p.steps = append(p.steps[:i+1], p.steps[i+3:]...) // the seconds read it all
		}
	}
}

// chunks are the parts of Go's layouts, each before those that it begins with.
var chunks = []struct {
	text string
	part part
}{
	{"January", monthName}, {"Jan", monthName}, {"Monday", weekday}, {"Mon", weekday},
	{"2006", year}, {"002", yearDay}, {"01", month}, {"02", dayOf}, {"03", hour12}, {"04", minute}, {"05", second},
	{"06", shortYear}, {"_2", dayOf}, {"15", hour}, {"PM", half}, {"pm", half},
	{"Z07:00", zone}, {"Z0700", zone}, {"Z07", zone}, {"-07:00", zone}, {"-0700", zone}, {"-07", zone}, {"MST", zoneName},
	{"1", month}, {"2", dayOf}, {"3", hour12}, {"4", minute}, {"5", second},
}

func (p *program) layout(format string) error {
next:
	for at := 0; at < len(format); {
		if n := len(p.steps); n > 0 && p.steps[n-1].part == second {
			if size := zeros(format[at:]); size > 0 { // the seconds read it
				at += size
				continue
			}
		}
		for _, c := range chunks {
			if strings.HasPrefix(format[at:], c.text) {
				p.add(c.part, "")
				at += len(c.text)
				continue next
			}
		}
		p.add(literal, format[at:at+1])
		at++
	}
	return nil
}

// zeros returns the length of a fraction in a Go layout: .000, ,000 or .999.
func zeros(b string) int {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' || b[1] != '0' && b[1] != '9' {
		return 0
	}
	n := 2
	for n < len(b) && b[n] == b[1] {
		n++
	}
	return n
}
