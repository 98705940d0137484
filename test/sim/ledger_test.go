package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/logcapturer/log_capturer/internal/deadletter"
	"github.com/logcapturer/log_capturer/internal/record"
)

// line names one line: a stream, which is an output of a container, and its number there.
type line struct {
	stream string
	n      int
}

// text is what the container writes; lineOf is its inverse for lines that are whole.
func (l line) text() string {
	d := dice(0).of(l.stream).at(int64(l.n))
	pad := int(d.number() * 80)
	return l.stream + " " + strconv.Itoa(l.n) + " " + strings.Repeat(string(rune('a'+d%26)), pad) + "."
}

func lineOf(text string) (line, bool) {
	name, rest, _ := strings.Cut(text, " ")
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	l := line{name, n}
	return l, err == nil && l.text() == text
}

// arrival is what is known of a line at one sink.
type arrival struct {
	n, allowed int // how often it came, and may come besides
	late       bool
	shaken     bool // by a clock that was set back: it may come again, and with another time
	time       int64
	labels     string
	refused    bool
}

// account is what one sink is owed and has.
type account struct {
	lines                   map[line]*arrival
	last                    map[string]int // the newest line of each stream
	total, repeats, letters int
}

// stream is one output of a container, as the engine has it.
type stream struct {
	name   string
	times  []int64 // of its lines
	handed int     // lines that a reader gave to the dispatcher
}

// ledger is the oracle: it is told of every line that is written and of every one that
// arrives, and of what excuses a repeat.
type ledger struct {
	mu       sync.Mutex
	streams  map[string]*stream
	accounts map[string]*account
	problems []string
	start    time.Time
	still    time.Time // until when the clock that was set back has not caught up
}

func newLedger(sinks ...string) *ledger {
	l := &ledger{streams: map[string]*stream{}, accounts: map[string]*account{}, start: time.Now()}
	for _, name := range sinks {
		l.accounts[name] = &account{lines: map[line]*arrival{}, last: map[string]int{}}
	}
	return l
}

func (l *ledger) problem(format string, args ...any) {
	if len(l.problems) < 20 {
		l.problems = append(l.problems, fmt.Sprintf("at %s: ", time.Since(l.start))+fmt.Sprintf(format, args...))
	}
}

// wrote notes a line that the engine has.
func (l *ledger) wrote(name string, at int64) line {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[name]
	if s == nil {
		s = &stream{name: name}
		l.streams[name] = s
	}
	s.times = append(s.times, at)
	id := line{name, len(s.times) - 1}
	if time.Now().Before(l.still) {
		l.shakes(id)
	}
	return id
}

// shake notes that the clock is set back. Lines whose timestamps are not in the order of
// the log, and those as far before them as is read again, may come again, whatever happens.
func (l *ledger) shake(now int64, by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.still = time.Now().Add(by + shakes)
	for _, s := range l.streams {
		for n := len(s.times) - 1; n >= 0 && s.times[n] > now-int64(shakes); n-- {
			l.shakes(line{s.name, n})
		}
	}
}

// shaking tells whether the clock was set back a short while ago.
func (l *ledger) shaking() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.still.IsZero() && time.Since(l.still) < time.Hour
}

// shakes is more than replay.Slack.
const shakes = 20 * time.Second

func (l *ledger) shakes(id line) {
	for _, a := range l.accounts {
		at := a.of(id)
		at.shaken, at.late = true, true
	}
}

// known returns the lines of a batch.
func (l *ledger) known(b *record.Batch) (lines []line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range b.Entries {
		id, ok := lineOf(string(b.Line(i)))
		if !ok || l.streams[id.stream] == nil {
			l.problem("a reader made up a line: %q", b.Line(i))
			continue
		}
		lines = append(lines, id)
	}
	return lines
}

// handed notes lines that a reader gave to the dispatcher.
func (l *ledger) handed(lines []line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range lines {
		s := l.streams[id.stream]
		s.handed = max(s.handed, id.n+1)
	}
}

// again notes that a source is read again from the cursor times of its two streams: what
// was handed out behind them may come once more, at every sink, and out of order.
func (l *ledger) again(container string, from [2]int64) (lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, output := range outputs {
		s := l.streams[container+"."+output]
		if s == nil {
			continue
		}
		for n := s.handed - 1; n >= 0 && s.times[n] > from[i]; n-- {
			s.handed = n
			lines++
			for _, a := range l.accounts {
				at := a.of(line{s.name, n})
				at.allowed++
				at.late = true
			}
		}
	}
	return lines
}

// handedBehind returns how many lines behind a cursor were handed out.
func (l *ledger) handedBehind(container string, from [2]int64) (lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, output := range outputs {
		if s := l.streams[container+"."+output]; s != nil {
			for n := s.handed - 1; n >= 0 && s.times[n] > from[i]; n-- {
				lines++
			}
		}
	}
	return lines
}

// excuse allows one more arrival of each line at a sink.
func (l *ledger) excuse(sink string, lines []line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range lines {
		l.accounts[sink].of(id).allowed++
	}
}

// late allows that lines arrive at a sink behind newer ones of their stream.
func (l *ledger) late(sink string, lines []line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range lines {
		l.accounts[sink].of(id).late = true
	}
}

// came tells which of the lines have arrived at a sink.
func (l *ledger) came(sink string, lines []line) (out []line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range lines {
		if l.accounts[sink].of(id).n > 0 {
			out = append(out, id)
		}
	}
	return out
}

func (a *account) of(id line) *arrival {
	at := a.lines[id]
	if at == nil {
		at = &arrival{}
		a.lines[id] = at
	}
	return at
}

// arrived notes that a sink took a line, or refused it for good.
func (l *ledger) arrived(sink string, b *record.Batch, i int, refused bool) (line, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, whole := lineOf(string(b.Line(i)))
	s := l.streams[id.stream]
	if !whole || s == nil || id.n >= len(s.times) {
		l.problem("%s got a line that nobody wrote: %q", sink, b.Line(i))
		return id, false
	}
	e := &b.Entries[i]
	labels := ""
	if st := b.Source.Streams[e.Output]; st != nil {
		labels = st.Labels.String()
	}
	a := l.accounts[sink]
	at := a.of(id)
	at.n++
	if at.n > 1 {
		a.repeats++
		switch {
		case at.shaken && at.labels == labels:
		case at.n > 1+at.allowed:
			l.problem("%s got %v for the %dth time; %d were to be expected at most", sink, id, at.n, 1+at.allowed)
		case at.time != e.Time || at.labels != labels || at.refused != refused:
			l.problem("%s got %v again with the time %d and the labels %s; they were %d, %s", sink, id, e.Time, labels, at.time, at.labels)
		}
		return id, true
	}
	a.total++
	at.time, at.labels, at.refused = e.Time, labels, refused
	if want := labelsOf(id.stream); labels != want {
		l.problem("%s got %v with the labels %s instead of %s", sink, id, labels, want)
	}
	if d := e.Time - s.times[id.n]; d < 0 || d > int64(time.Second) {
		l.problem("%s got %v with the time %d, which was written at %d", sink, id, e.Time, s.times[id.n])
	}
	if last, ok := a.last[id.stream]; ok && id.n < last && !at.late {
		l.problem("%s got %v behind line %d", sink, id, last)
	}
	a.last[id.stream] = max(a.last[id.stream], id.n)
	return id, true
}

// complete checks that every line that the engine has was taken or refused.
func (l *ledger) complete() (lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		lines += len(s.times)
		for sink, a := range l.accounts {
			missing, first := 0, 0
			for n := range s.times {
				if at := a.lines[line{s.name, n}]; at == nil || at.n == 0 {
					if missing++; missing == 1 {
						first = n
					}
				}
			}
			if missing > 0 {
				l.problem("%s lacks %d of the %d lines of %s; the first: %d", sink, missing, len(s.times), s.name, first)
			}
		}
	}
	return lines
}

// missing counts the lines that some sink has neither taken nor refused.
func (l *ledger) missing() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, a := range l.accounts {
		for _, s := range l.streams {
			n += len(s.times)
		}
		n -= a.total
	}
	return n
}

// total returns the lines that were written.
func (l *ledger) total() (lines int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		lines += len(s.times)
	}
	return lines
}

// buried compares the dead letters of a sink with what it refused. Where calls of the disk
// failed a letter may be there more often than its line was refused.
func (l *ledger) buried(sink string, d *disk, failures int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[line]int{}
	for _, dir := range d.dirs {
		for _, name := range sorted(dir.now) {
			for text := range bytes.Lines(dir.now[name].now) {
				letter, err := deadletter.Parse(bytes.TrimSuffix(text, []byte("\n")))
				id, ok := lineOf(string(letter.Line))
				if err != nil || !ok {
					l.problem("the dead letters of %s have a damaged line: %v in %q", sink, err, text)
					continue
				}
				found[id]++
				if at := l.accounts[sink].of(id); at.time != letter.Time || at.labels != letter.Labels.String() || !at.refused {
					l.problem("the dead letter %v of %s has the time %d; %s refused one with %d", id, sink, letter.Time, sink, at.time)
				}
			}
		}
	}
	for id, at := range l.accounts[sink].lines {
		switch n := found[id]; {
		case !at.refused:
		case n == 0:
			l.problem("%s refused %v, and there is no dead letter", sink, id)
		case n > at.n+failures:
			l.problem("%s refused %v %d times, and there are %d dead letters", sink, id, at.n, n)
		}
	}
	l.accounts[sink].letters = len(found)
}
