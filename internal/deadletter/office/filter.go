package office

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/logcapturer/log_capturer/internal/deadletter"
)

// Filter chooses letters; what is empty fits all.
type Filter struct {
	Sink   string `json:"sink,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Source is a glob for the source's name: the container's name or the file's path.
	Source string `json:"source,omitempty"`
}

// Check tells whether the filter can be understood.
func (f Filter) Check() error {
	if !doublestar.ValidatePattern(f.Source) {
		return fmt.Errorf("source %q: %w: it is no glob; use *, ** (also through /), ?, [a-z] and {a,b}", f.Source, ErrFilter)
	}
	return nil
}

// parse returns the letter of a line, and whether it matches. Of a line that is none the
// reason is Damaged and Line is nil.
func (f Filter) parse(line []byte) (deadletter.Letter, bool) {
	l, err := deadletter.Parse(line)
	if err != nil {
		l = deadletter.Letter{Reason: Damaged}
	}
	return l, f.fits(&l)
}

func (f Filter) fits(l *deadletter.Letter) bool {
	return (f.Reason == "" || f.Reason == l.Reason) &&
		(f.Source == "" || doublestar.MatchUnvalidated(f.Source, l.Source.Name))
}

// Group is the letters of one sink that were refused for one reason.
type Group struct {
	Sink    string `json:"sink"`
	Reason  string `json:"reason"`
	Entries int64  `json:"entries"`
	// Bytes are those on disk.
	Bytes int64 `json:"bytes"`
	// Oldest and Newest are timestamps of entries; zero for damaged lines.
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
}

// groups are sums by sink and reason.
type groups map[[2]string]*Group

func (g groups) add(sink string, l *deadletter.Letter, bytes int) {
	key := [2]string{sink, l.Reason}
	sum := g[key]
	if sum == nil {
		sum = &Group{Sink: sink, Reason: l.Reason}
		g[key] = sum
	}
	sum.Entries++
	sum.Bytes += int64(bytes)
	if l.Line == nil {
		return // damaged: it has no time
	}
	sum.span(time.Unix(0, l.Time).UTC(), time.Unix(0, l.Time).UTC())
}

func (g *Group) span(oldest, newest time.Time) {
	if g.Oldest.IsZero() || !oldest.IsZero() && oldest.Before(g.Oldest) {
		g.Oldest = oldest
	}
	if newest.After(g.Newest) {
		g.Newest = newest
	}
}

// merge adds other and returns the number of its letters.
func (g groups) merge(other groups) (letters int64) {
	for key, from := range other {
		letters += from.Entries
		if to := g[key]; to != nil {
			to.Entries += from.Entries
			to.Bytes += from.Bytes
			to.span(from.Oldest, from.Newest)
			continue
		}
		g[key] = from
	}
	return letters
}

func (g groups) sorted() []Group {
	out := make([]Group, 0, len(g)) // [] and not null when there are none
	for _, group := range g {
		out = append(out, *group)
	}
	slices.SortFunc(out, func(a, b Group) int {
		if by := strings.Compare(a.Sink, b.Sink); by != 0 {
			return by
		}
		return strings.Compare(a.Reason, b.Reason)
	})
	return out
}
