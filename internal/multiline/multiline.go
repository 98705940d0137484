// Package multiline decides which lines of a log belong to one entry: a stack trace, a
// statement over several lines.
//
// It owns no bytes, no clock and no goroutine. The caller keeps the lines of the entry
// that is pending where it likes, and asks for every line what it is to them. A Matcher
// is compiled once from a Config, never changes, and may be used by any number of logs
// at once; each log has a State of its own.
//
// It promises that whether and how a line begins an entry never depends on what stood
// before that line. So a reader that starts again at the first line of any entry, with
// an empty State, finds the same entries again. The caller's part is to let its position
// never move past the first line of what is pending.
package multiline

import (
	"fmt"
	"time"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Verdict is what a line is to the lines before it.
type Verdict uint8

const (
	// Alone: what is pending is complete, and so is this line: nothing can follow that
	// belongs to it. Nothing is pending any more.
	Alone Verdict = iota
	// Starts: what is pending is complete, and this line is pending now.
	Starts
	// Continues: the line belongs to what is pending.
	Continues
)

func (v Verdict) String() string {
	if v > Continues {
		return fmt.Sprintf("Verdict(%d)", uint8(v))
	}
	return [...]string{"alone", "starts", "continues"}[v]
}

// State is what is known of the pending entry of one log. The zero value is the state
// before the first line. It is a plain value: a copy is a snapshot.
type State struct {
	phases [families]phase
	lines  int
	bytes  int
	idle   time.Time // since when no line came, zero if that was not asked
	cut    bool
}

// Pending tells whether the last lines may go on with the next one.
func (s *State) Pending() bool { return s.lines > 0 }

// Lines is how many lines the pending entry has.
func (s *State) Lines() int { return s.lines }

// Bytes is how long the pending entry is, with one byte between every two lines.
func (s *State) Bytes() int { return s.bytes }

// Cut tells whether the last Next ended an entry only because it had reached max_lines
// or max_bytes.
func (s *State) Cut() bool { return s.cut }

// Reset forgets what is pending: the caller gave it out, or will read it again.
func (s *State) Reset() { *s = State{} }

// Matcher decides for the lines of any number of logs. A nil Matcher takes every line
// alone.
type Matcher struct {
	rules    []rule
	maxLines int
	maxBytes int
	flush    time.Duration
}

// rule is one preset, or the patterns. Its functions know nothing but the line and the
// phase that they returned for the line before it.
type rule struct {
	family
	// begin returns the phase in which a line is pending that begins an entry, none if
	// nothing can follow it.
	begin func(line []byte, names bool) phase
	// next returns the phase after a line that belongs to what is pending, none if it
	// does not belong to it.
	next func(p phase, line []byte) phase
	// names: begin wants to know whether the line names an error.
	names bool
}

// New compiles the settings. An entry is never longer than maxLine, whatever max_bytes
// says. Without presets and patterns it returns nil, which is a Matcher too.
func New(c Config, maxLine units.Size) (*Matcher, error) {
	if c.IsZero() {
		return nil, nil
	}
	if errs := c.Validate(); len(errs) > 0 {
		return nil, fmt.Errorf("multiline: %w", errs[0])
	}
	m := &Matcher{maxLines: c.MaxLines, maxBytes: int(min(c.MaxBytes, maxLine)), flush: c.Flush.Std()}
	if c.Start != "" || c.Continue != "" {
		r, err := patterns(c.Start, c.Continue)
		if err != nil {
			return nil, fmt.Errorf("multiline: %w", err)
		}
		m.rules = append(m.rules, r)
	}
	for _, name := range c.Presets {
		m.rules = append(m.rules, presets[name])
	}
	return m, nil
}

// Next says what the line, without its line end, is to what is pending in s, and brings
// s up to date. The line is not kept.
func (m *Matcher) Next(s *State, line []byte) Verdict {
	if m == nil {
		return Alone
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	s.idle, s.cut = time.Time{}, false
	if s.lines > 0 && m.goesOn(s, line) {
		if s.lines < m.maxLines && s.bytes+1+len(line) <= m.maxBytes {
			s.lines++
			s.bytes += 1 + len(line)
			return Continues
		}
		s.cut = true
	}
	if !m.starts(s, line) {
		s.lines, s.bytes = 0, 0
		return Alone
	}
	s.lines, s.bytes = 1, len(line)
	return Starts
}

// goesOn moves the rules on that take the line for a part of what is pending. Rules
// that do not are out of it until the next entry begins.
func (m *Matcher) goesOn(s *State, line []byte) bool {
	any := false
	for i := range m.rules {
		r := &m.rules[i]
		if p := s.phases[r.family]; p != none {
			p = r.next(p, line)
			s.phases[r.family] = p
			any = any || p != none
		}
	}
	return any
}

// starts must not look at what s was: that is the promise of the package.
func (m *Matcher) starts(s *State, line []byte) bool {
	any, asked, names := false, false, false
	for i := range m.rules {
		r := &m.rules[i]
		if r.names && !asked {
			names, asked = namesError(line), true
		}
		p := r.begin(line, names)
		s.phases[r.family] = p
		any = any || p != none
	}
	return any
}

// Wait tells how long the pending entry has still to wait for its next line; at zero or
// less it is complete, and the caller gives it out and calls Reset. It is asked when
// the log has no further line: the time runs from the first time it is asked after a
// line, so that a reader that is kept from reading does not tear entries apart. When
// nothing is pending there is nothing to wait for, and the answer is the whole flush
// time.
func (m *Matcher) Wait(s *State, now time.Time) time.Duration {
	if m == nil {
		return 0
	}
	if s.lines == 0 {
		return m.flush
	}
	if s.idle.IsZero() {
		s.idle = now
	}
	return m.flush - now.Sub(s.idle)
}
