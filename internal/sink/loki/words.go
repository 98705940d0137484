package loki

import (
	"strconv"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
)

// words is what the text of a 400 says about the one stream that was sent. Loki has
// two forms (3.7.8): the distributor's, one sentence for each kind of mistake, with a
// count where it stands for several, joined by semicolons; and the ingester's, one line
// for each of the first ten entries and one with the totals. The real texts are in
// testdata.
type words struct {
	wholeStream bool // its labels are refused, so all entries are
	metadata    bool // the structured metadata is refused
	// fromIngester: these are the ingester's words, which are about one stream of several.
	fromIngester bool
	complete     bool // every word was understood: the counts are all there is

	old      said
	new      said
	long     said
	maxLine  int
	ingester said
	total    int     // of the stream's entries the ingester saw
	times    []int64 // of the entries that the ingester names
	limited  bool    // the ingester names entries that it refused for the rate only
}

// said is what was said of one kind of refusal.
type said struct {
	count  int
	second int64 // the cutoff, in whole seconds of Unix time; for new: the lowest time refused
	reason string
	detail string
}

func (s *said) add(count int, second int64, reason, text string) {
	if s.count == 0 {
		s.second, s.reason, s.detail = second, reason, httpsink.Words([]byte(text), detailWords)
	}
	s.count += count
}

// parse reads the words. Label values in them are skipped as the quoted strings that
// they are, so that none can pass for Loki's own words.
func parse(body []byte, cut bool) words {
	w := words{}
	p := parser{rest: strings.TrimSpace(string(body))}
	if strings.HasPrefix(p.rest, "entry with timestamp ") || strings.HasPrefix(p.rest, "user '") {
		w.fromIngester = true
		w.complete = w.ingesterForm(p.rest) && !cut
		return w
	}
	for {
		if !w.sentence(&p) {
			return w
		}
		if p.rest == "" {
			w.complete = !cut
			return w
		}
		if !p.skip("; ") {
			return w
		}
	}
}

// sentence reads one of the distributor's sentences.
func (w *words) sentence(p *parser) bool {
	count := p.count()
	start := p.rest
	said := func() string { return start[:len(start)-len(p.rest)] }
	switch {
	case p.skip("entry for stream '"):
		if !p.labels() {
			return false
		}
		if p.skip("' has timestamp too old: ") {
			_, ok1 := p.time()
			ok2 := p.skip(", oldest acceptable timestamp is: ")
			at, ok3 := p.time()
			w.old.add(count, at, reasonTooOld, said())
			return ok1 && ok2 && ok3
		}
		if p.skip("' has timestamp too new: ") {
			at, ok := p.time()
			if w.new.count > 0 {
				w.new.second = min(w.new.second, at)
			}
			w.new.add(count, at, reasonTooNew, said())
			return ok
		}
		w.wholeStream = strings.HasPrefix(p.rest, "' has ") && strings.Contains(p.rest, " label names; limit ")
		return false
	case p.skip("max entry size '"):
		limit, ok1 := p.number()
		ok2 := p.skip("' bytes exceeded for stream '") && p.labels() && p.skip("' while adding an entry with length '")
		_, ok3 := p.number()
		ok4 := p.skip("' bytes")
		if !ok1 || !ok2 || !ok3 || !ok4 {
			return false
		}
		w.maxLine = limit
		w.long.add(count, 0, reasonLineTooLong, said())
		return true
	case p.skip("stream '"):
		if !p.labels() {
			return false
		}
		w.metadata = strings.HasPrefix(p.rest, "' includes structured metadata, ") ||
			strings.HasPrefix(p.rest, "' has structured metadata too large: ") ||
			strings.HasPrefix(p.rest, "' has too many structured metadata labels: ")
		w.wholeStream = strings.HasPrefix(p.rest, "' has label name too long: ") ||
			strings.HasPrefix(p.rest, "' has label value too long: ") ||
			strings.HasPrefix(p.rest, "' has duplicate label name: ")
		return false
	}
	w.wholeStream = p.skip("error parsing labels '") || p.skip("couldn't parse labels: ") ||
		p.skip("error at least one label pair is required") || p.skip("missing required labels '")
	return false
}

// ingesterForm reads the ingester's lines.
func (w *words) ingesterForm(text string) bool {
	for line := range strings.SplitSeq(text, "\n") {
		p := parser{rest: line}
		if p.skip("user '") {
			_, after, ok := strings.Cut(p.rest, "', total ignored: ")
			p.rest = after
			n, ok1 := p.number()
			ok2 := p.skip(" out of ")
			total, ok3 := p.number()
			w.ingester.count, w.total = n, total
			return ok && ok1 && ok2 && ok3 && p.skip(" for stream: ") && p.labels() && p.rest == "" && strings.HasSuffix(text, line)
		}
		if !w.ingesterEntry(&p, line) {
			return false
		}
	}
	return false
}

func (w *words) ingesterEntry(p *parser, line string) bool {
	if !p.skip("entry with timestamp ") {
		return false
	}
	stamp, reason, ok := strings.Cut(p.rest, " ignored, reason: '")
	at, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", stamp)
	if !ok || err != nil {
		return false
	}
	switch {
	case strings.HasPrefix(reason, "entry too far behind, "):
		_, after, _ := strings.Cut(reason, "oldest acceptable timestamp is: ")
		cutoff, err := time.Parse(time.RFC3339, strings.TrimRight(after, "',"))
		if err != nil {
			return false
		}
		w.ingester.add(0, cutoff.Unix(), reasonOutOfOrder, line)
	case strings.HasPrefix(reason, "entry out of order"): // unordered_writes: false; no cutoff is said
		w.ingester.add(0, 0, reasonOutOfOrder, line)
	default:
		w.limited = true // a rate limit: later it may pass
		return true
	}
	w.times = append(w.times, at.UnixNano())
	return true
}

// parser takes words from the front of a text.
type parser struct{ rest string }

func (p *parser) skip(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = rest
	}
	return ok
}

// count reads "12 errors like: ", or nothing, which means one.
func (p *parser) count() int {
	at := p.rest
	if n, ok := p.number(); ok && p.skip(" errors like: ") {
		return n
	}
	p.rest = at
	return 1
}

func (p *parser) number() (int, bool) {
	digits := p.rest[:len(p.rest)-len(strings.TrimLeft(p.rest, "0123456789"))]
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0, false
	}
	p.rest = p.rest[len(digits):]
	return n, true
}

// time reads an RFC 3339 time of whole seconds and returns Unix seconds.
func (p *parser) time() (int64, bool) {
	end := len(p.rest) - len(strings.TrimLeft(p.rest, "0123456789T:+-Z"))
	t, err := time.Parse(time.RFC3339, p.rest[:end])
	if err != nil {
		return 0, false
	}
	p.rest = p.rest[end:]
	return t.Unix(), true
}

// labels reads {a="b", c="d"}.
func (p *parser) labels() bool {
	if !p.skip("{") {
		return false
	}
	for first := true; !p.skip("}"); first = false {
		if !first && !p.skip(", ") && !p.skip(",") {
			return false
		}
		name, _, ok := strings.Cut(p.rest, "=")
		if !ok {
			return false
		}
		p.rest = p.rest[len(name)+1:]
		quoted, err := strconv.QuotedPrefix(p.rest)
		if err != nil {
			return false
		}
		p.rest = p.rest[len(quoted):]
	}
	return true
}
