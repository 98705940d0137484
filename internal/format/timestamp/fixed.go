package timestamp

import (
	"encoding/binary"
	"time"
)

// bad is what the readers of digits return for what is none: it is out of every range.
const bad = 1 << 20

func isDigit(c byte) bool { return c-'0' <= 9 }

func pair(tens, ones byte) uint {
	t, o := uint(tens-'0'), uint(ones-'0')
	if t > 9 || o > 9 {
		return bad
	}
	return t*10 + o
}

// date reads 2006-01-02 with sep between its parts, as days since the epoch.
func date(b []byte, sep byte) (int64, bool) {
	_ = b[9]
	year, month, dom := pair(b[0], b[1])*100+pair(b[2], b[3]), pair(b[5], b[6]), pair(b[8], b[9])
	if b[4] != sep || b[7] != sep || !exists(year, month, dom) {
		return 0, false
	}
	return days(year, month, dom), true
}

// clock reads 15:04:05, as the second of the day. The 60th second is a leap second, which
// is the next minute's first.
func clock(b []byte) (uint, bool) {
	_ = b[7]
	hour, minute, second := pair(b[0], b[1]), pair(b[3], b[4]), pair(b[6], b[7])
	if b[2] != ':' || b[5] != ':' || hour > 23 || minute > 59 || second > 60 {
		return 0, false
	}
	return hour*3600 + minute*60 + second, true
}

// fraction reads a point or comma and digits, as ns; n is 0 when there are none. What is
// finer than a nanosecond is cut.
func fraction(b []byte) (nano int64, n int) {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' || !isDigit(b[1]) {
		return 0, 0
	}
	if len(b) >= 10 {
		if v, ok := eight(b[1:]); ok && isDigit(b[9]) {
			nano, n = int64(v)*10+int64(b[9]-'0'), 10
			for n < len(b) && isDigit(b[n]) {
				n++
			}
			return nano, n
		}
	}
	scale := int64(1e9)
	for n = 1; n < len(b) && isDigit(b[n]); n++ {
		scale /= 10
		nano += int64(b[n]-'0') * scale
	}
	return nano, n
}

// eight reads eight digits at once.
func eight(b []byte) (uint64, bool) {
	v := binary.LittleEndian.Uint64(b)
	const high, six, three = 0xF0F0F0F0F0F0F0F0, 0x0606060606060606, 0x3333333333333333
	if v&high|(v+six)&high>>4 != three {
		return 0, false
	}
	v = v & 0x0F0F0F0F0F0F0F0F * (10<<8 + 1) >> 8               // pairs
	v = v & 0x00FF00FF00FF00FF * (100<<16 + 1) >> 16            // fours
	return v & 0x0000FFFF0000FFFF * (10000<<32 + 1) >> 32, true // all
}

// zoneOf reads Z, +02:00, +0200 or +02, as seconds east of UTC; n is 0 when there is none.
func zoneOf(b []byte) (seconds int64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	if b[0] == 'Z' || b[0] == 'z' {
		return 0, 1
	}
	if len(b) < 3 || b[0] != '+' && b[0] != '-' {
		return 0, 0
	}
	hours, minutes, n := pair(b[1], b[2]), uint(0), 3
	switch {
	case len(b) >= 6 && b[3] == ':':
		minutes, n = pair(b[4], b[5]), 6
	case len(b) >= 5 && isDigit(b[3]):
		minutes, n = pair(b[3], b[4]), 5
	}
	if hours > 23 || minutes > 59 {
		return 0, 0
	}
	seconds = int64(hours*3600 + minutes*60)
	if b[0] == '-' {
		seconds = -seconds
	}
	return seconds, n
}

// stamp reads 2006-01-02T15:04:05.999: local seconds since the epoch, ns and its length,
// which is 0 when there is none.
func stamp(b []byte) (sec, nano int64, n int) {
	if len(b) < 19 || b[10] != 'T' && b[10] != ' ' && b[10] != 't' {
		return 0, 0, 0
	}
	d, isDate := date(b, '-')
	s, isClock := clock(b[11:19])
	if !isDate || !isClock {
		return 0, 0, 0
	}
	nano, n = fraction(b[19:])
	return d*day + int64(s), nano, 19 + n
}

// RFC3339 reads a timestamp of RFC 3339 at the start of b, with any number of digits
// behind the second and T or a space before the hour: ns since the epoch and its length,
// which is 0 when there is none.
func RFC3339(b []byte) (ns int64, n int) {
	sec, nano, n := stamp(b)
	if n == 0 {
		return 0, 0
	}
	if n < len(b) && (b[n] == 'Z' || b[n] == 'z') {
		return sec*1e9 + nano, n + 1
	}
	east, z := zoneOf(b[n:])
	if z < 6 { // RFC 3339 wants the minutes, and a colon
		return 0, 0
	}
	return (sec-east)*1e9 + nano, n + z
}

func rfc3339(b []byte, _ *time.Location, _ int64) (int64, int) { return RFC3339(b) }

// ISO8601 reads what RFC3339 reads, also with a comma before the fraction and with a zone
// without a colon or none at all, which is then the one given. One space may stand before
// the zone.
func ISO8601(b []byte, zone *time.Location, now int64) (ns int64, n int) {
	sec, nano, n := stamp(b)
	if n == 0 {
		return 0, 0
	}
	rest := b[n:]
	if len(rest) > 5 && rest[0] == ' ' && (rest[1] == '+' || rest[1] == '-') {
		if east, z := zoneOf(rest[1:]); z > 3 {
			return (sec-east)*1e9 + nano, n + 1 + z
		}
	}
	if east, z := zoneOf(rest); z > 0 {
		return (sec-east)*1e9 + nano, n + z
	}
	return instant(sec, zone, now)*1e9 + nano, n
}

// monthOf reads Jan; 0 when it is no month's name.
func monthOf(a, b, c byte) uint {
	switch uint32(a|0x20)<<16 | uint32(b|0x20)<<8 | uint32(c|0x20) {
	case 'j'<<16 | 'a'<<8 | 'n':
		return 1
	case 'f'<<16 | 'e'<<8 | 'b':
		return 2
	case 'm'<<16 | 'a'<<8 | 'r':
		return 3
	case 'a'<<16 | 'p'<<8 | 'r':
		return 4
	case 'm'<<16 | 'a'<<8 | 'y':
		return 5
	case 'j'<<16 | 'u'<<8 | 'n':
		return 6
	case 'j'<<16 | 'u'<<8 | 'l':
		return 7
	case 'a'<<16 | 'u'<<8 | 'g':
		return 8
	case 's'<<16 | 'e'<<8 | 'p':
		return 9
	case 'o'<<16 | 'c'<<8 | 't':
		return 10
	case 'n'<<16 | 'o'<<8 | 'v':
		return 11
	case 'd'<<16 | 'e'<<8 | 'c':
		return 12
	}
	return 0
}

// commonLog reads 10/Oct/2000:13:55:36 -0700.
func commonLog(b []byte, _ *time.Location, _ int64) (int64, int) {
	const size = len("10/Oct/2000:13:55:36 -0700")
	if len(b) < size || b[2] != '/' || b[6] != '/' || b[11] != ':' || b[20] != ' ' {
		return 0, 0
	}
	dom, month, year := pair(b[0], b[1]), monthOf(b[3], b[4], b[5]), pair(b[7], b[8])*100+pair(b[9], b[10])
	s, ok := clock(b[12:20])
	if !ok || !exists(year, month, dom) {
		return 0, 0
	}
	east, z := zoneOf(b[21:size])
	if z != 5 {
		return 0, 0
	}
	return (days(year, month, dom)*day + int64(s) - east) * 1e9, size
}

// goLog reads 2009/11/10 23:00:00.123456, as Go's package log and nginx's error log have it.
func goLog(b []byte, zone *time.Location, now int64) (int64, int) {
	if len(b) < 19 || b[10] != ' ' {
		return 0, 0
	}
	d, isDate := date(b, '/')
	s, isClock := clock(b[11:19])
	if !isDate || !isClock {
		return 0, 0
	}
	nano, n := fraction(b[19:])
	return instant(d*day+int64(s), zone, now)*1e9 + nano, 19 + n
}

// klog reads I0102 15:04:05.123456, whose letter is the severity.
func klog(b []byte, zone *time.Location, now int64) (int64, int) {
	if len(b) < 14 || b[5] != ' ' {
		return 0, 0
	}
	if c := b[0]; c != 'I' && c != 'W' && c != 'E' && c != 'F' && c != 'D' {
		return 0, 0
	}
	s, ok := clock(b[6:14])
	if !ok {
		return 0, 0
	}
	nano, n := fraction(b[14:])
	ns, ok := latest(pair(b[1], b[2]), pair(b[3], b[4]), s, nano, zone, now)
	if !ok {
		return 0, 0
	}
	return ns, 14 + n
}

// Syslog reads "Jan  2 15:04:05", the timestamp of RFC 3164, also with a fraction and with
// a day below ten as "02" or "2".
func Syslog(b []byte, zone *time.Location, now int64) (ns int64, n int) {
	if len(b) < 14 || b[3] != ' ' {
		return 0, 0
	}
	month, at := monthOf(b[0], b[1], b[2]), 6
	var dom uint
	switch {
	case b[4] == ' ':
		dom = pair('0', b[5])
	case b[5] == ' ':
		dom, at = pair('0', b[4]), 5
	default:
		dom = pair(b[4], b[5])
	}
	if len(b) < at+9 || b[at] != ' ' {
		return 0, 0
	}
	s, ok := clock(b[at+1 : at+9])
	if !ok {
		return 0, 0
	}
	nano, f := fraction(b[at+9:])
	if ns, ok = latest(month, dom, s, nano, zone, now); !ok {
		return 0, 0
	}
	return ns, at + 9 + f
}

// count reads whole digits, of which there are least or one more: what has others counts
// another unit.
func count(b []byte, least int) (v int64, n int) {
	for n < len(b) && n <= least+1 && isDigit(b[n]) {
		if v > (1<<63-10)/10 {
			return 0, 0
		}
		v = v*10 + int64(b[n]-'0')
		n++
	}
	if n < least || n > least+1 {
		return 0, 0
	}
	return v, n
}

// unixSeconds reads seconds since the epoch, with or without a fraction. As with the
// other units, what has another number of digits than the years from 1973 to 2286 have
// is taken for another unit, and refused.
func unixSeconds(b []byte, _ *time.Location, _ int64) (int64, int) {
	v, n := count(b, 9)
	if n == 0 || v >= (1<<63-1)/1_000_000_000 {
		return 0, 0
	}
	nano, f := fraction(b[n:])
	return v*1e9 + nano, n + f
}

func unixMillis(b []byte, _ *time.Location, _ int64) (int64, int) { return scaled(b, 12, 1e6) }
func unixMicros(b []byte, _ *time.Location, _ int64) (int64, int) { return scaled(b, 15, 1e3) }
func unixNanos(b []byte, _ *time.Location, _ int64) (int64, int)  { return scaled(b, 18, 1) }

func scaled(b []byte, least int, unit int64) (int64, int) {
	v, n := count(b, least)
	if n == 0 || v > (1<<63-1)/unit {
		return 0, 0
	}
	return v * unit, n
}
