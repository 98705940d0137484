// Package syslog reads lines of syslog as they are in files: /var/log/syslog,
// /var/log/messages and their like. Three forms are known, each with or without a
// priority "<34>" before it, but for the last one, which always has it:
//
//	Jan  2 15:04:05 host app[123]: message                       RFC 3164, traditional
//	2026-01-02T15:04:05.123456+01:00 host app[123]: message      rsyslog, today's default
//	<34>1 2026-01-02T15:04:05.123456Z host app 123 ID [sd] text  RFC 5424
//
// The traditional form has neither a year nor a zone: the caller gives the zone, and the
// year is resolved as package timestamp says. Nothing is guessed: a line of none of the
// forms is an error, and where no "app:" or "app[pid]:" begins the text ("last message
// repeated 3 times"), App is empty and all of it is the message.
//
// The fields of a Message are parts of the line, which stays the caller's; nothing is
// allocated.
package syslog

import (
	"bytes"
	"errors"
	"time"

	"github.com/logcapturer/log_capturer/internal/format/timestamp"
)

// Why a line is none of syslog.
var (
	ErrPriority   = errors.New("no line of syslog: it begins with <, but no priority from <0> to <191> follows")
	ErrTime       = errors.New("no line of syslog: a timestamp (Jan  2 15:04:05, or that of RFC 3339) and a space were expected")
	ErrHost       = errors.New("no line of syslog: the host's name was expected behind the timestamp")
	ErrHeader     = errors.New("no line of syslog: RFC 5424 wants a host, an application, a process and a message ID, separated by spaces")
	ErrStructured = errors.New("no line of syslog: the structured data of RFC 5424 is damaged")
)

// Absent is the Facility and the Severity of a line that does not tell them.
const Absent = -1

// Message is a line of syslog. Text fields that the line does not have are empty.
type Message struct {
	Time     int64 // ns since the epoch; 0 when NoTime
	NoTime   bool  // RFC 5424's "-": the sender had no clock
	Facility int   // 0 to 23, or Absent
	Severity int   // 0, emergency, to 7, debug; or Absent

	Host, App, PID []byte
	MsgID          []byte // RFC 5424
	Structured     []byte // RFC 5424: [id name="value"]…, with its escapes
	Off            int    // where the message begins; it goes on to the line's end
}

// Parse reads a line, without its newline. zone is that of timestamps that name none, now
// is when the line was read, in ns since the epoch. The error is one of the above.
func Parse(line []byte, zone *time.Location, now int64) (Message, error) {
	m := Message{Facility: Absent, Severity: Absent}
	if len(line) > 0 && line[0] == '<' {
		pri, n := priority(line)
		if n == 0 {
			return Message{}, ErrPriority
		}
		m.Facility, m.Severity, m.Off = pri>>3, pri&7, n
		if bytes.HasPrefix(line[n:], []byte("1 ")) {
			m.Off += len("1 ")
			return m.modern(line)
		}
	}
	return m.traditional(line, zone, now)
}

// priority reads <0> to <191>.
func priority(line []byte) (pri, n int) {
	for n = 1; n < len(line) && n <= 4; n++ {
		c := line[n]
		if c == '>' && n > 1 {
			return pri, n + 1
		}
		if c < '0' || c > '9' || pri == 0 && n > 1 {
			return 0, 0
		}
		if pri = pri*10 + int(c-'0'); pri > 191 {
			return 0, 0
		}
	}
	return 0, 0
}

func (m Message) traditional(line []byte, zone *time.Location, now int64) (Message, error) {
	rest := line[m.Off:]
	var ns int64
	var n int
	if len(rest) > 0 && rest[0] <= '9' {
		ns, n = timestamp.RFC3339(rest)
	} else {
		ns, n = timestamp.Syslog(rest, zone, now)
	}
	if n == 0 || n >= len(rest) || rest[n] != ' ' {
		return Message{}, ErrTime
	}
	m.Time = ns
	m.Off += n + 1
	if m.Host, n = word(line[m.Off:]); n == 0 {
		return Message{}, ErrHost
	}
	m.Off += n
	m.tag(line)
	return m, nil
}

// word returns the text up to the next space, or to the end, and how much to go on by;
// n is 0 when there is no text.
func word(b []byte) (text []byte, n int) {
	end := bytes.IndexByte(b, ' ')
	switch {
	case end == 0 || len(b) == 0:
		return nil, 0
	case end < 0:
		return b, len(b)
	}
	return b[:end:end], end + 1
}

// maxTag bounds a tag, in bytes: RFC 3164 allows 32, programs write longer ones.
const maxTag = 128

// tag reads "app:" or "app[pid]:" and moves Off behind it and its space; when there is
// neither, nothing is changed.
func (m *Message) tag(line []byte) {
	rest := line[m.Off:]
	rest = rest[:min(len(rest), maxTag)]
	app := 0
	for app < len(rest) && rest[app] > ' ' && rest[app] != ':' && rest[app] != '[' {
		app++
	}
	if app == 0 || app == len(rest) || rest[app] <= ' ' {
		return
	}
	end := app
	var pid []byte
	if rest[app] == '[' {
		size := bytes.IndexByte(rest[app:], ']')
		if size < 2 || bytes.IndexByte(rest[app:app+size], ' ') >= 0 {
			return
		}
		pid = rest[app+1 : app+size : app+size]
		if end = app + size + 1; end == len(rest) || rest[end] != ':' {
			return
		}
	}
	if end++; end < len(rest) && rest[end] != ' ' { // "host::1 said": no tag
		return
	}
	m.App, m.PID = rest[:app:app], pid
	if m.Off += end; end < len(rest) {
		m.Off++
	}
}
