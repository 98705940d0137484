package docker

import "time"

// The engine writes 2006-01-02T15:04:05.000000000, always with nine digits, and then Z
// or, from drivers that keep no zone (local, the dual-logging cache), the daemon's
// offset as +02:00. One space follows.
const (
	stampUTC    = len("2006-01-02T15:04:05.000000000Z ")
	stampOffset = len("2006-01-02T15:04:05.000000000+02:00 ")
)

// parseStamp reads the timestamp at the start of b and returns it in ns since the
// epoch with its length, the space included. The length is 0 when there is none.
func parseStamp(b []byte) (ns int64, n int) {
	if len(b) < stampUTC || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] != '.' {
		return 0, 0
	}
	year, ok1 := digits(b[0:4])
	month, ok2 := digits(b[5:7])
	day, ok3 := digits(b[8:10])
	hour, ok4 := digits(b[11:13])
	minute, ok5 := digits(b[14:16])
	second, ok6 := digits(b[17:19])
	nano, ok7 := digits(b[20:29])
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) {
		return 0, 0
	}
	if year < 1678 || year > 2261 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 {
		return 0, 0 // the years are those that ns since the epoch can hold
	}
	ns = time.Date(year, time.Month(month), day, hour, minute, second, nano, time.UTC).UnixNano()
	switch {
	case b[29] == 'Z' && b[30] == ' ':
		return ns, stampUTC
	case len(b) >= stampOffset && (b[29] == '+' || b[29] == '-') && b[32] == ':' && b[35] == ' ':
		h, ok1 := digits(b[30:32])
		m, ok2 := digits(b[33:35])
		if !ok1 || !ok2 {
			return 0, 0
		}
		offset := int64(h*60+m) * int64(time.Minute)
		if b[29] == '-' {
			offset = -offset
		}
		return ns - offset, stampOffset
	}
	return 0, 0
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
