// Package ndjson appends the pieces of a log entry's JSON by hand: no reflection, no
// allocation per line. The local file sink and the dead letters write the same form:
//
//	{"time":"2026-01-02T03:04:05.000000006Z","labels":{…},"metadata":{…},"line":"…"}
//
// It promises that what it appends is valid JSON on one line, whatever the bytes are,
// and that the bytes of a log line can be had back from it exactly: a line that is not
// valid UTF-8 is written as "line_base64".
package ndjson

import (
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/logcapturer/log_capturer/internal/record"
)

const hex = "0123456789abcdef"

// AppendTime appends nanoseconds since the Unix epoch as a JSON string: RFC 3339, UTC,
// with as many digits of the second as it needs.
func AppendTime(dst []byte, ns int64) []byte {
	dst = append(dst, '"')
	dst = time.Unix(0, ns).UTC().AppendFormat(dst, time.RFC3339Nano)
	return append(dst, '"')
}

// AppendString appends s as a JSON string; invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	dst = append(dst, '"')
	dst = escape(dst, s)
	return append(dst, '"')
}

// AppendLabels appends a set as a JSON object.
func AppendLabels(dst []byte, labels record.Labels) []byte {
	dst = append(dst, '{')
	for i := range labels {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, labels[i].Name)
		dst = append(dst, ':')
		dst = AppendString(dst, labels[i].Value)
	}
	return append(dst, '}')
}

// AppendStream appends the members "labels" and, where there is any, "metadata". It is
// the same for all entries of a stream: make it once.
func AppendStream(dst []byte, s *record.Stream) []byte {
	dst = append(dst, `"labels":`...)
	dst = AppendLabels(dst, s.Labels)
	if len(s.Metadata) > 0 {
		dst = append(dst, `,"metadata":`...)
		dst = AppendLabels(dst, s.Metadata)
	}
	return dst
}

// AppendLine appends the member "line", or "line_base64" when line is not valid UTF-8,
// and "truncated" when the entry was cut at the length limit.
func AppendLine(dst, line []byte, flags record.Flags) []byte {
	if utf8.Valid(line) {
		dst = append(dst, `"line":"`...)
		dst = escape(dst, line)
	} else {
		dst = append(dst, `"line_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, line)
	}
	dst = append(dst, '"')
	if flags&record.Truncated != 0 {
		dst = append(dst, `,"truncated":true`...)
	}
	return dst
}

// escape appends s with what JSON wants escaped: quotes, backslashes, control characters.
func escape[T string | []byte](dst []byte, s T) []byte {
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, s[from:]...)
}
