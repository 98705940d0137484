package jsonfile

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/logcapturer/log_capturer/internal/record"
)

// rec is one decoded record.
type rec struct {
	text   []byte
	off    int // of text in the line that it was decoded from, -1 when it lies elsewhere
	output record.Output
	time   int64 // ns since the epoch
}

var (
	prefix     = []byte(`{"log":"`)
	stdoutMark = []byte(`,"stream":"stdout"`)
	stderrMark = []byte(`,"stream":"stderr"`)
	outputMark = []byte(`","stream":"std`)
	timeMark   = []byte(`"time":"`)
)

// decoder decodes the records of one json-file. It remembers the last minute, since
// nearly all records share it with the one before.
type decoder struct {
	minute   [17]byte // "2026-11-21T23:35:"
	minuteNS int64
}

// decode decodes one line, without its newline, in place: the text is unescaped over
// its own escaped form, which is never shorter. The shape is the one that the
// engine writes, {"log":"…\n","stream":"stdout","attrs":{…},"time":"…"} (moby,
// daemon/logger/jsonfilelog/jsonlog); anything else that is valid JSON is decoded by
// encoding/json, at fifty times the cost. ok is false for a damaged line.
//
// A line whose head is damaged, NULs after a power cut for example, is decoded from
// the last place where a record begins: the text itself cannot contain an unescaped quote.
func (d *decoder) decode(line []byte) (r rec, damaged, ok bool) {
	if r, ok = d.fast(line); ok {
		return r, false, true
	}
	if at := bytes.LastIndex(line, prefix); at > 0 {
		if r, ok = d.fast(line[at:]); ok {
			r.off += at
			return r, true, true
		}
	}
	r, ok = slow(line)
	return r, !ok, ok
}

func (d *decoder) fast(line []byte) (rec, bool) {
	if !bytes.HasPrefix(line, prefix) {
		return rec{}, false
	}
	// The tail first: nothing may be written to a line that is not of this shape.
	// "time" is the last member; attrs may stand before it.
	tail := line[max(len(prefix), len(line)-48):]
	at := bytes.LastIndex(tail, timeMark)
	if at < 0 || at+len(timeMark) > len(tail)-2 || string(tail[len(tail)-2:]) != `"}` || !bytes.Contains(line, outputMark) {
		return rec{}, false
	}
	stamp, ok := d.stamp(tail[at+len(timeMark) : len(tail)-2])
	if !ok {
		return rec{}, false
	}
	text, end, ok := unquote(line, len(prefix))
	if !ok {
		return rec{}, false
	}
	r := rec{text: text, off: len(prefix), time: stamp}
	rest := line[end+1:]
	switch {
	case bytes.HasPrefix(rest, stdoutMark):
		r.output = record.Stdout
	case bytes.HasPrefix(rest, stderrMark):
		r.output = record.Stderr
	default:
		return rec{}, false
	}
	if bytes.Contains(rest, prefix) {
		return rec{}, false // a torn record with a whole one behind it
	}
	return r, true
}

// unquote decodes the JSON string that begins at line[at], behind its opening quote,
// in place; end is the index of its closing quote. A line without escapes but for its
// newline costs two searches; others are walked byte by byte while escapes are
// close together, as in JSON within JSON, and by searches where they are not.
func unquote(line []byte, at int) (text []byte, end int, ok bool) {
	from, to := at, at
	literal := stretch // what may be walked before searching: nothing at first
	for from < len(line) {
		c := line[from]
		switch {
		case c == '"':
			return line[at:to], from, true
		case c != '\\' && literal < stretch:
			line[to] = c
			from, to, literal = from+1, to+1, literal+1
		case c != '\\':
			n := run(line[from:])
			if to != from {
				copy(line[to:], line[from:from+n])
			}
			from, to, literal = from+n, to+n, 0
		default:
			n, size := unescape(line[to:], line[from:])
			if n == 0 {
				return nil, 0, false
			}
			from, to, literal = from+n, to+size, 0
		}
	}
	return nil, 0, false
}

// stretch is how many bytes are walked before the next special one is searched for.
const stretch = 16

// run returns how many bytes there are before the next backslash or quote.
func run(b []byte) int {
	if n := bytes.IndexByte(b, '\\'); n >= 0 {
		b = b[:n]
	}
	if n := bytes.IndexByte(b, '"'); n >= 0 {
		return n
	}
	return len(b)
}

// plain maps the letter of a two-byte escape to what it means; 0 is none.
var plain = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape decodes the escape at the beginning of src into dst, which may overlap it,
// and returns the lengths of both; n is 0 for none that is valid.
func unescape(dst, src []byte) (n, size int) {
	if len(src) < 2 {
		return 0, 0
	}
	if c := plain[src[1]]; c != 0 {
		dst[0] = c
		return 2, 1
	}
	if src[1] != 'u' {
		return 0, 0
	}
	r, n := hexRune(src)
	if n == 0 {
		return 0, 0
	}
	return n, utf8.EncodeRune(dst, r)
}

// hexRune decodes \uXXXX, or a surrogate pair of two, and returns its length in bytes.
func hexRune(text []byte) (rune, int) {
	r, ok := hex4(text)
	if !ok {
		return 0, 0
	}
	if r < 0xd800 || r > 0xdfff {
		return r, 6
	}
	if low, ok := hex4(text[6:]); ok && r < 0xdc00 && low >= 0xdc00 && low <= 0xdfff {
		return (r-0xd800)<<10 + low - 0xdc00 + 0x10000, 12
	}
	return utf8.RuneError, 6
}

func hex4(text []byte) (rune, bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range text[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 + rune(c)
	}
	return r, true
}

// stamp decodes RFC 3339 in UTC with up to nine decimals: 2026-11-21T23:35:01.5Z.
func (d *decoder) stamp(s []byte) (int64, bool) {
	if len(s) < 20 || s[len(s)-1] != 'Z' {
		return general(s)
	}
	if string(s[:17]) != string(d.minute[:]) {
		t, err := time.Parse("2006-01-02T15:04:", string(s[:17]))
		if err != nil {
			return 0, false
		}
		copy(d.minute[:], s)
		d.minuteNS = t.UnixNano()
	}
	ten, one := s[17]-'0', s[18]-'0'
	if ten > 6 || one > 9 {
		return 0, false
	}
	var nanos int64
	if frac := s[19 : len(s)-1]; len(frac) > 0 {
		if frac[0] != '.' || len(frac) > 10 {
			return 0, false
		}
		unit := int64(100_000_000)
		for _, c := range frac[1:] {
			if c < '0' || c > '9' {
				return 0, false
			}
			nanos += int64(c-'0') * unit
			unit /= 10
		}
	}
	return d.minuteNS + (int64(ten)*10+int64(one))*1e9 + nanos, true
}

func general(s []byte) (int64, bool) {
	t, err := time.Parse(time.RFC3339Nano, string(s))
	return t.UnixNano(), err == nil
}

// slow decodes any valid JSON record: members in another order, an empty log.
func slow(line []byte) (rec, bool) {
	var v struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal(line, &v); err != nil || v.Time.IsZero() {
		return rec{}, false
	}
	r := rec{text: []byte(v.Log), off: -1, output: record.Stdout, time: v.Time.UnixNano()}
	if v.Stream == "stderr" {
		r.output = record.Stderr
	}
	return r, true
}
