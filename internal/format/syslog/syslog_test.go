package syslog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var reading = time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)

// told prints what is known of a line, as time|facility.severity|host|app|pid|id|data|message.
func told(line string, m Message) string {
	when := "-"
	if !m.NoTime {
		when = time.Unix(0, m.Time).UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s|%d.%d|%s|%s|%s|%s|%s|%s", when, m.Facility, m.Severity, m.Host, m.App, m.PID, m.MsgID, m.Structured, line[m.Off:])
}

func TestLinesOfFiles(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		// traditional
		"Jan  2 15:04:05 host app[123]: hello: you":      "2026-01-02T14:04:05Z|-1.-1|host|app|123|||hello: you",
		"<34>Oct 11 22:14:15 mymachine su: 'su root'":    "2025-10-11T20:14:15Z|4.2|mymachine|su||||'su root'",
		"Jan  2 15:04:05 h kernel: [ 12.3] usb 1-1: new": "2026-01-02T14:04:05Z|-1.-1|h|kernel||||[ 12.3] usb 1-1: new",
		"Jan  2 15:04:05 h postfix/smtpd[9]: x":          "2026-01-02T14:04:05Z|-1.-1|h|postfix/smtpd|9|||x",
		"Jan  2 15:04:05 h sshd(pam_unix)[9]: x":         "2026-01-02T14:04:05Z|-1.-1|h|sshd(pam_unix)|9|||x",
		"Jan  2 15:04:05 h last message repeated 3":      "2026-01-02T14:04:05Z|-1.-1|h|||||last message repeated 3",
		"Jan  2 15:04:05 h -- MARK --":                   "2026-01-02T14:04:05Z|-1.-1|h|||||-- MARK --",
		"Jan  2 15:04:05 h app[123] x":                   "2026-01-02T14:04:05Z|-1.-1|h|||||app[123] x",
		"Jan  2 15:04:05 h app[1 2]: x":                  "2026-01-02T14:04:05Z|-1.-1|h|||||app[1 2]: x",
		"Jan  2 15:04:05 h app[]: x":                     "2026-01-02T14:04:05Z|-1.-1|h|||||app[]: x",
		"Jan  2 15:04:05 h a::1 said":                    "2026-01-02T14:04:05Z|-1.-1|h|||||a::1 said",
		"Jan  2 15:04:05 h app:":                         "2026-01-02T14:04:05Z|-1.-1|h|app||||",
		"Jan  2 15:04:05 h app[7]:  x":                   "2026-01-02T14:04:05Z|-1.-1|h|app|7||| x",
		"Jan  2 15:04:05 h":                              "2026-01-02T14:04:05Z|-1.-1|h|||||",
		"Dec 31 23:59:59 h app: old":                     "2025-12-31T22:59:59Z|-1.-1|h|app||||old",
		// rsyslog's default
		"2026-01-02T15:04:05.123456+01:00 host systemd[1]: Started x.": "2026-01-02T14:04:05.123456Z|-1.-1|host|systemd|1|||Started x.",
		"<0>2026-01-02T15:04:05Z h a: x":                               "2026-01-02T15:04:05Z|0.0|h|a||||x",
		// RFC 5424, with its own examples
		"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \uFEFF'su root' failed":                                             "2003-10-11T22:14:15.003Z|4.2|mymachine.example.com|su||ID47||'su root' failed",
		"<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time":                                                      "2003-08-24T12:14:15.000003Z|20.5|192.0.2.1|myproc|8710|||%% It's time",
		`<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App"][examplePriority@32473 class="high"]`: `2003-10-11T22:14:15.003Z|20.5|h|evntslog||ID47|[exampleSDID@32473 iut="3" eventSource="App"][examplePriority@32473 class="high"]|`,
		`<191>1 - - - - - [a b="\"\]\\ [x"] msg`:                                                                                              `-|23.7|||||[a b="\"\]\\ [x"]|msg`,
		`<1>1 - - - - - -`:                                                                                                                    `-|0.1||||||`,
		`<1>1 - - - - - [a] `:                                                                                                                 `-|0.1|||||[a]|`,
	} {
		m, err := Parse([]byte(line), berlin, reading.UnixNano())
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if got := told(line, m); got != want {
			t.Errorf("%q is\n  %s; want\n  %s", line, got, want)
		}
	}
}

func TestWhatDoesNotParseSaysWhy(t *testing.T) {
	for line, want := range map[string]error{
		"":                                                 ErrTime,
		"hello":                                            ErrTime,
		"<34>":                                             ErrTime,
		"<192>Jan  2 15:04:05 h x":                         ErrPriority,
		"<034>Jan  2 15:04:05 h x":                         ErrPriority,
		"<>Jan  2 15:04:05 h x":                            ErrPriority,
		"<a>Jan  2 15:04:05 h x":                           ErrPriority,
		"<1234>Jan  2 15:04:05 h x":                        ErrPriority,
		"<12":                                              ErrPriority,
		"Jan  2 15:04:05":                                  ErrTime,
		"Jan  2 15:04:05x h a: b":                          ErrTime,
		"Jan  2 2026 15:04:05 h a: b":                      ErrTime,
		"Jan  2 15:04:05 ":                                 ErrHost,
		"Jan  2 15:04:05  h a: b":                          ErrHost,
		"2026-01-02T15:04:05 h a: b":                       ErrTime,
		"1 2026-01-02T15:04:05Z h a - - -":                 ErrTime,
		"<1>2 2026-01-02T15:04:05Z h a - - -":              ErrTime,
		"<1>1 Jan  2 15:04:05 h a - - -":                   ErrTime,
		"<1>1 2026-01-02T15:04:05Z h a - -":                ErrHeader,
		"<1>1 2026-01-02T15:04:05Z h a  - - -":             ErrHeader,
		"<1>1 2026-01-02T15:04:05Z h a - - x":              ErrStructured,
		"<1>1 2026-01-02T15:04:05Z h a - - -x":             ErrStructured,
		"<1>1 2026-01-02T15:04:05Z h a - - []":             ErrStructured,
		`<1>1 - h a - - [a b=c] x`:                         ErrStructured,
		`<1>1 - h a - - [a b="c"x] x`:                      ErrStructured,
		`<1>1 - h a - - [a b="c]"] x`:                      ErrStructured,
		`<1>1 - h a - - [a b="c\"] x`:                      ErrStructured,
		`<1>1 - h a - - [a b="c"`:                          ErrStructured,
		`<1>1 - h a - - [a b="c"][ x`:                      ErrStructured,
		`<1>1 - h a - - [a b="` + strings.Repeat("x", 100): ErrStructured,
	} {
		if m, err := Parse([]byte(line), time.UTC, reading.UnixNano()); !errors.Is(err, want) {
			t.Errorf("%q: %s, %v; want %v", line, told(line, m), err, want)
		}
	}
}

func TestStructuredDataIsWalkedOver(t *testing.T) {
	line := `<1>1 - - - - - [a@1 x="1" y="\"q\" \n \] \\"][empty][b z=""] m`
	m, err := Parse([]byte(line), time.UTC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for p := range m.Params() {
		got = append(got, fmt.Sprintf("%s.%s=%s", p.ID, p.Name, Unescape(nil, p.Value)))
	}
	if want := `a@1.x=1 a@1.y="q" \n ] \ b.z=`; strings.Join(got, " ") != want {
		t.Errorf("%s; want %s", strings.Join(got, " "), want)
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range samples {
		f.Add([]byte(line))
	}
	f.Add([]byte("<34>Oct 11 22:14:15 mymachine su: 'su root'"))
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		m, err := Parse(line, time.UTC, reading.UnixNano())
		if !bytes.Equal(before, line) {
			t.Fatal("the line was changed")
		}
		if err != nil {
			return
		}
		if m.Off < 0 || m.Off > len(line) || m.Facility < Absent || m.Facility > 23 || m.Severity < Absent || m.Severity > 7 {
			t.Fatalf("%q: %+v", line, m)
		}
		at := 0 // the fields are parts of the line, in this order
		for _, field := range [][]byte{m.Host, m.App, m.PID, m.MsgID, m.Structured} {
			i := bytes.Index(line[at:m.Off], field)
			if i < 0 {
				t.Fatalf("%q: %q is not before the message", line, field)
			}
			at += i + len(field)
		}
		size := 0
		for p := range m.Params() {
			size += len(p.Name) + len(p.Value) + len(` =""`)
		}
		if size > len(m.Structured) {
			t.Fatalf("%q has parameters of %d bytes", m.Structured, size)
		}
	})
}

var samples = map[string]string{
	"rfc3164": "Jan  2 15:04:05 web1 nginx[4711]: 10.0.0.1 - - GET /index.html HTTP/1.1 200 612 - Mozilla/5.0 (X11; Linux x86_64) id=a",
	"rsyslog": "2026-01-02T15:04:05.123456+01:00 web1 nginx[4711]: 10.0.0.1 - - GET /index.html HTTP/1.1 200 612 - Mozilla/5.0 (X11) id=a",
	"rfc5424": `<165>1 2026-01-02T15:04:05.123456Z web1 nginx 4711 ID47 [x@32473 iut="3" eventSource="App"] GET /index.html HTTP/1.1 200 612`,
}

func TestNothingIsAllocatedForALine(t *testing.T) {
	for name, line := range samples {
		b := []byte(line)
		if n := testing.AllocsPerRun(100, func() { _, _ = Parse(b, time.UTC, reading.UnixNano()) }); n != 0 {
			t.Errorf("%s: %v allocations for a line", name, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, text := range samples {
		b.Run(name, func(b *testing.B) {
			line := []byte(text)
			b.SetBytes(int64(len(line)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(line, time.UTC, reading.UnixNano()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
