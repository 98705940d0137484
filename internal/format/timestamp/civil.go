package timestamp

import "time"

const (
	day = 24 * 60 * 60 // seconds

	// The years that ns since the epoch can hold.
	minYear, maxYear = 1678, 2261

	// yearAhead is how far in the future, in ns, a timestamp without a year may lie.
	yearAhead = int64(24 * time.Hour)
	// hourAhead is the same for the hour that happens twice.
	hourAhead = int64(time.Minute)
	// farthest is more than any zone's distance from UTC, in seconds.
	farthest = 15 * 60 * 60
)

// before is how many days of a year that is no leap year are before each month.
var before = [14]uint16{0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365}

func leap(year uint) bool { return year%4 == 0 && (year%100 != 0 || year%400 == 0) }

// exists tells whether there is such a date, in the years that can be held.
func exists(year, month, date uint) bool {
	if year < minYear || year > maxYear || month < 1 || month > 12 || date < 1 {
		return false
	}
	return date <= uint(before[month+1]-before[month]) || month == 2 && date == 29 && leap(year)
}

// days returns the days since the epoch of a date that exists.
func days(year, month, date uint) int64 {
	y := year - 1
	n := int64(y*365 + y/4 - y/100 + y/400 + uint(before[month]) + date - 1)
	if month > 2 && leap(year) {
		n++
	}
	return n - 719162 // those before 1970
}

// instant returns what a zone's clocks call local, both in seconds since the epoch.
func instant(local int64, zone *time.Location, now int64) int64 {
	if zone == time.UTC || zone == nil {
		return local
	}
	early, late := offset(local-farthest, zone), offset(local+farthest, zone)
	if early == late {
		return local - early
	}
	first, second := local-early, local-late
	isFirst, isSecond := offset(first, zone) == early, offset(second, zone) == late
	switch {
	case isFirst && isSecond && second*1e9 <= now+hourAhead:
		return second
	case isSecond && !isFirst:
		return second
	}
	return first // the only one, the one that is not in the future, or an hour that never was
}

func offset(at int64, zone *time.Location) int64 {
	_, seconds := time.Unix(at, 0).In(zone).Zone()
	return int64(seconds)
}

// latest returns the latest time, in ns, that is not in the future and has this month,
// date and second of the day; ok is false when there is no such date.
func latest(month, date, second uint, nano int64, zone *time.Location, now int64) (ns int64, ok bool) {
	end := now + yearAhead
	newest := uint(max(time.Unix(0, end).In(zone).Year(), 0))
	for year := newest; year+8 >= newest; year-- { // a leap day is at most eight years away
		if !exists(year, month, date) {
			continue
		}
		ns := instant(days(year, month, date)*day+int64(second), zone, now)*1e9 + nano
		if ns <= end {
			return ns, true
		}
	}
	return 0, false
}
