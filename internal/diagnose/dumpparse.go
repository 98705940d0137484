package diagnose

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// forms are those of the lines that matter:
//
//	goroutine 21 [chan send, 5 minutes, locked to thread labels:{"owner": "agent/x"}]:
//	goroutine 21 gp=0x2c06d9184780 m=nil [IO wait]:
//	created by main.main in goroutine 1
//	3 @ 0x47d92e 0x41491c
//	#	0x4dc7dd	main.main.func1+0x1d	/src/main.go:5
type forms struct{ header, started, record, frame, waits, owner *regexp.Regexp }

func newForms() forms {
	return forms{
		header:  regexp.MustCompile(`^goroutine \d+ (?:gp=0x[0-9a-f]+ m=\S+ (?:mp=0x[0-9a-f]+ )?)?\[(.+)\]:$`),
		started: regexp.MustCompile(`^created by (.+?)(?: in goroutine \d+)?$`),
		record:  regexp.MustCompile(`^(\d+) @(?: 0x[0-9a-f]+)+$`),
		frame:   regexp.MustCompile(`^#\t0x[0-9a-f]+\t(.*?)\+0x[0-9a-f]+\t`),
		waits:   regexp.MustCompile(`, (\d+) minutes`),
		owner:   regexp.MustCompile(`"owner": ?("(?:[^"\\]|\\.)*")`),
	}
}

const (
	formDump    = "dump"
	formProfile = "profile"
)

// goroutine is one, or several of a profile that are alike.
type goroutine struct {
	count    int
	state    string // empty: not told
	minutes  int
	owner    string
	created  string
	frames   []string
	complete bool
}

// parser reads line by line. What it does not know it passes over: a line of a log
// between two goroutines does no harm, one within a goroutine ends it.
type parser struct {
	forms  forms
	groups *groups
	form   string
	now    *goroutine // nil: none was begun
	last   bool       // the last one read was complete
	place  bool       // the next line says where the frame before is
}

func (p *parser) line(text []byte) {
	if p.begin(text) {
		return
	}
	if p.now == nil {
		return
	}
	if p.form == formProfile {
		p.profile(text)
		return
	}
	p.dump(text)
}

// begin takes the first line of a goroutine.
func (p *parser) begin(text []byte) bool {
	switch {
	case bytes.HasPrefix(text, []byte("goroutine ")):
		m := p.forms.header.FindSubmatch(text)
		if m == nil {
			return false
		}
		p.end()
		p.form, p.now = formDump, p.forms.stateOf(string(m[1]))
		return true
	case len(text) > 0 && text[0] >= '0' && text[0] <= '9' && p.form != formDump:
		m := p.forms.record.FindSubmatch(text)
		if m == nil {
			return false
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil || n <= 0 || n > 1<<30 {
			return false
		}
		p.end()
		p.form, p.now = formProfile, &goroutine{count: n, minutes: -1}
		return true
	}
	return false
}

// stateOf reads what is between the brackets.
func (f forms) stateOf(text string) *goroutine {
	g := &goroutine{count: 1}
	if before, after, found := strings.Cut(text, " labels:{"); found {
		text = before
		g.owner = f.ownerOf("{" + after)
	}
	if m := f.waits.FindStringSubmatch(text); m != nil {
		g.minutes, _ = strconv.Atoi(m[1]) // too large a number is the largest
	}
	g.state, _, _ = strings.Cut(text, ",")
	g.state = strings.TrimSuffix(strings.TrimSuffix(g.state, " (scan)"), " (durable)")
	return g
}

func (f forms) ownerOf(set string) string {
	m := f.owner.FindStringSubmatch(set)
	if m == nil {
		return ""
	}
	owner, err := strconv.Unquote(m[1])
	if err != nil {
		return m[1]
	}
	return owner
}

// dump takes a further line of SIGQUIT or debug=2.
func (p *parser) dump(text []byte) {
	g := p.now
	switch {
	case len(text) == 0:
		p.now.complete = true
		p.end()
	case text[0] == '\t':
		p.place = false
	case p.place:
		p.end() // a frame without its place: something else was written here
	case bytes.HasPrefix(text, []byte("created by ")):
		if m := p.forms.started.FindSubmatch(text); m != nil {
			g.created, p.place = strings.ReplaceAll(string(m[1]), module, ""), true
		}
	case bytes.HasPrefix(text, []byte("...")): // frames left out
	default:
		function, ok := called(string(text))
		if !ok {
			p.end()
			return
		}
		g.add(function)
		p.place = true
	}
}

// called returns the function of a frame: what is before its arguments, in which there
// are no brackets.
func called(text string) (string, bool) {
	at := strings.LastIndexByte(text, '(')
	if at <= 0 || !strings.HasSuffix(text, ")") || strings.ContainsAny(text[:at], " \t=") || !strings.Contains(text[:at], ".") {
		return "", false
	}
	return text[:at], true
}

// profile takes a further line of debug=1.
func (p *parser) profile(text []byte) {
	switch {
	case len(text) == 0:
		p.now.complete = true
		p.end()
	case bytes.HasPrefix(text, []byte("# labels: ")):
		p.now.owner = p.forms.ownerOf(string(text))
	case text[0] != '#':
		p.end()
	default:
		if m := p.forms.frame.FindSubmatch(text); m != nil {
			p.now.add(string(m[1]))
		}
	}
}

// add takes a frame.
func (g *goroutine) add(function string) {
	if len(g.frames) < mostFrames {
		g.frames = append(g.frames, strings.ReplaceAll(function, module, ""))
	}
}

// module is left out of names, so that they fit on a line.
const module = "github.com/logcapturer/log_capturer/internal/"

// end takes leave of the goroutine that was read.
func (p *parser) end() {
	if p.now == nil {
		return
	}
	p.last = p.now.complete || !p.place && len(p.now.frames) > 0
	p.groups.add(p.now)
	p.now, p.place = nil, false
}

// cut tells that the last goroutine was not read to its end.
func (p *parser) cut() bool { return !p.last }
