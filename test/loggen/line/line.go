// Package line makes and reads the log lines that tests count.
//
// Every line carries `id=ID seq=N`, contiguous per id, and ends in a CRC-32 of
// itself, so that a lost, a repeated and a damaged line are each seen for what
// they are. The log generator writes them, the ledger of test/harness reads
// them. The package keeps nothing between calls.
package line

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"time"
)

// Format is the shape of a line.
type Format string

// The shapes. Mixed takes one of the others for each line, by its sequence number.
const (
	Plain Format = "plain"
	JSON  Format = "json"
	Nginx Format = "nginx"
	Mixed Format = "mixed"
)

// ParseFormat returns the format of that name.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case Plain, JSON, Nginx, Mixed:
		return f, nil
	}
	return "", fmt.Errorf("format %q: want plain, json, nginx or mixed", s)
}

// PanicLines is the number of lines that loggen's -panic adds to those of -n.
const PanicLines = 8

// Append appends a line without its newline. A line shorter than size bytes is
// padded to exactly size; 0 leaves it at its natural size (about 80 bytes plain,
// 200 nginx, 350 JSON). The same arguments give the same bytes. id must consist
// of letters, digits, '-', '_', '.' and '/'.
func Append(dst []byte, f Format, id string, seq int64, size int, now time.Time) []byte {
	r := scatter(uint64(seq))
	if f == Mixed {
		f = [...]Format{Plain, JSON, Nginx}[r%3]
	}
	start := len(dst)
	switch f {
	case JSON:
		return appendJSON(dst, start, id, seq, max(size, 350), r, now)
	case Nginx:
		return appendNginx(dst, start, id, seq, size, r, now)
	}
	return appendPlain(dst, start, id, seq, size, r, now, pick(verbs, r>>16))
}

// AppendText appends a plain line that says text; what Append promises holds for it too.
func AppendText(dst []byte, text, id string, seq int64, now time.Time) []byte {
	return appendPlain(dst, len(dst), id, seq, 0, 0, now, text)
}

// What the lines of a stack trace begin with, as Java prints it.
const (
	traceHead  = "java.lang.IllegalStateException: "
	traceFrame = "\tat com.acme.Shop.pay(Shop.java:17) "
)

// AppendTrace appends the first line of a stack trace, or another one; what Append promises
// holds for it too.
func AppendTrace(dst []byte, first bool, id string, seq int64, now time.Time) []byte {
	start, begin := len(dst), traceFrame
	if first {
		begin = traceHead
	}
	return appendPlain(append(dst, begin...), start, id, seq, 0, 0, now, "no")
}

const (
	crcMark = "crc="
	crcLen  = len(crcMark) + 8
)

func appendPlain(dst []byte, start int, id string, seq int64, size int, r uint64, now time.Time, text string) []byte {
	dst = now.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	dst = append(dst, pick(levels, r>>8)...)
	dst = appendKey(dst, id, seq)
	dst = append(dst, ' ')
	dst = append(dst, text...)
	dst = fill(dst, start+max(size, 80)-1-crcLen, r)
	dst = append(dst, ' ')
	return appendCRC(dst, start, "")
}

func appendJSON(dst []byte, start int, id string, seq int64, size int, r uint64, now time.Time) []byte {
	const tail = `","crc":"`
	dst = append(dst, `{"time":"`...)
	dst = now.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, `","level":"`...)
	dst = append(dst, bytes.TrimSpace([]byte(pick(levels, r>>8)))...)
	dst = append(dst, `","logger":"shop.`...)
	dst = append(dst, pick(words, r>>24)...)
	dst = append(dst, `","key":"`...)
	dst = appendKey(dst, id, seq)
	dst = append(dst, `","status":`...)
	dst = strconv.AppendUint(dst, 200+r%5*100, 10)
	dst = append(dst, `,"duration_ms":`...)
	dst = strconv.AppendUint(dst, r>>32%5000, 10)
	dst = append(dst, `,"path":"/api/v1/<`...)
	dst = append(dst, pick(words, r>>40)...)
	dst = append(dst, `>&page=`...)
	dst = strconv.AppendUint(dst, r>>20%100, 10)
	dst = append(dst, `","msg":"`...)
	dst = append(dst, pick(verbs, r>>16)...)
	dst = fill(dst, start+size-len(tail)-crcLen-len(closing), r)
	dst = append(dst, tail...)
	return appendCRC(dst, start, closing)
}

func appendNginx(dst []byte, start int, id string, seq int64, size int, r uint64, now time.Time) []byte {
	dst = append(dst, "203.0.113."...)
	dst = strconv.AppendUint(dst, r%254+1, 10)
	dst = append(dst, " - - ["...)
	dst = now.UTC().AppendFormat(dst, "02/Jan/2006:15:04:05 -0700")
	dst = append(dst, `] "GET /`...)
	dst = append(dst, pick(words, r>>12)...)
	dst = append(dst, '/')
	dst = strconv.AppendUint(dst, r>>20%100000, 10)
	dst = append(dst, ` HTTP/1.1" `...)
	dst = strconv.AppendUint(dst, 200+r>>8%4*100, 10)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, r>>30%65536, 10)
	dst = append(dst, ` "-" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101`...)
	end := appendKey([]byte(`" `), id, seq)
	dst = fill(dst, start+max(size, 200)-len(end)-1-crcLen, r)
	dst = append(dst, end...)
	dst = append(dst, ' ')
	return appendCRC(dst, start, "")
}

func appendKey(dst []byte, id string, seq int64) []byte {
	dst = append(dst, "id="...)
	dst = append(dst, id...)
	dst = append(dst, " seq="...)
	return strconv.AppendInt(dst, seq, 10)
}

const hexDigits = "0123456789abcdef"

func appendCRC(dst []byte, start int, end string) []byte {
	sum := crc32.ChecksumIEEE(dst[start:])
	dst = append(dst, crcMark...)
	for shift := 28; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[sum>>shift&15])
	}
	return append(dst, end...)
}

// closing is what stands behind the checksum of a JSON line.
const closing = `"}`

// ErrForeign is returned for a line that was not made by Append.
var ErrForeign = errors.New("not a line of the log generator")

// ErrDamaged is returned for a line of Append's that is not what it was.
var ErrDamaged = errors.New("damaged line")

// Parse returns what identifies the line b, which has no newline (a carriage
// return of a terminal is left aside). Of a damaged line the id and seq are what
// can be read of them, and may be wrong.
func Parse(b []byte) (id string, seq int64, err error) {
	b = bytes.TrimSuffix(b, []byte("\r"))
	id, seq, ok := key(b)
	if !ok {
		return "", 0, ErrForeign
	}
	at := bytes.LastIndex(b, []byte(crcMark))
	if at < 0 || len(b) < at+crcLen {
		return id, seq, fmt.Errorf("%w: no checksum at its end", ErrDamaged)
	}
	if end := string(b[at+crcLen:]); end != "" && end != closing {
		return id, seq, fmt.Errorf("%w: %q behind its checksum", ErrDamaged, end)
	}
	want, err := strconv.ParseUint(string(b[at+len(crcMark):at+crcLen]), 16, 32)
	if err != nil || crc32.ChecksumIEEE(b[:at]) != uint32(want) {
		return id, seq, fmt.Errorf("%w: its checksum does not match", ErrDamaged)
	}
	return id, seq, nil
}

func key(b []byte) (string, int64, bool) {
	at := bytes.Index(b, []byte(" seq="))
	if at < 0 {
		return "", 0, false
	}
	from := bytes.LastIndex(b[:at], []byte("id="))
	if from < 0 {
		return "", 0, false
	}
	digits := b[at+len(" seq="):]
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	seq, err := strconv.ParseInt(string(digits[:n]), 10, 64)
	return string(b[from+len("id=") : at]), seq, err == nil
}
