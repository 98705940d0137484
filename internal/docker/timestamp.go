package docker

import "time"

// The engine writes 2006-01-02T15:04:05.000000000, always with nine digits, and then Z
// or, from drivers that keep no zone (local, the dual-logging cache), the daemon's
// offset as +02:00. One space follows. Podman leaves out the fraction (4.3), or its
// trailing zeros.
const (
	stampUTC    = len("2006-01-02T15:04:05.000000000Z ")
	stampOffset = len("2006-01-02T15:04:05.000000000+02:00 ")
	stampShort  = len("2006-01-02T15:04:05Z ")
	secondsEnd  = len("2006-01-02T15:04:05")
	// nanoDigits is how many Docker writes.
	nanoDigits = 9
)

// parseStamp reads the timestamp at the start of b, with any precision down to ns, and
// returns it in ns since the epoch with its length, the space included. The length is 0
// when there is none.
func parseStamp(b []byte) (ns int64, n int) {
	if len(b) < stampShort || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' {
		return 0, 0
	}
	year, ok1 := digits(b[0:4])
	month, ok2 := digits(b[5:7])
	day, ok3 := digits(b[8:10])
	hour, ok4 := digits(b[11:13])
	minute, ok5 := digits(b[14:16])
	second, ok6 := digits(b[17:19])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6) {
		return 0, 0
	}
	if year < 1678 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return 0, 0 // the years are those that ns since the epoch can hold
	}
	nano, fraction := fractionOf(b)
	ns = time.Date(year, time.Month(month), day, hour, minute, second, nano, time.UTC).UnixNano()
	n = secondsEnd + fraction
	zone := b[n:]
	switch {
	case len(zone) >= 2 && zone[0] == 'Z' && zone[1] == ' ':
		return ns, n + 2
	case len(zone) >= 7 && (zone[0] == '+' || zone[0] == '-') && zone[3] == ':' && zone[6] == ' ':
		h, ok1 := digits(zone[1:3])
		m, ok2 := digits(zone[4:6])
		if !ok1 || !ok2 {
			return 0, 0
		}
		offset := int64(h*60+m) * int64(time.Minute)
		if zone[0] == '-' {
			offset = -offset
		}
		return ns - offset, n + 7
	}
	return 0, 0
}

// fractionOf returns the fraction of a second, in ns, of the timestamp that b starts with,
// and its length with the point; the length is 0 when there is none.
func fractionOf(b []byte) (nano, n int) {
	if len(b) <= secondsEnd || b[secondsEnd] != '.' {
		return 0, 0
	}
	scale := 1_000_000_000
	n = 1
	for _, c := range b[secondsEnd+1:] {
		if c < '0' || c > '9' || n > nanoDigits {
			break
		}
		scale /= 10
		nano += int(c-'0') * scale
		n++
	}
	return nano, n
}

func digits(b []byte) (n int, ok bool) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}
