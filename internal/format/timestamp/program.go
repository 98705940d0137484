package timestamp

import (
	"strings"
	"time"
)

// part is a piece of a timestamp. The letters of strptime name them where there is one.
type part byte

const (
	literal   part = 0
	year      part = 'Y'
	shortYear part = 'y'
	month     part = 'm'
	monthName part = 'b'
	dayOf     part = 'd' // one or two digits, with a space before one
	weekday   part = 'a'
	hour      part = 'H'
	hour12    part = 'I'
	minute    part = 'M'
	second    part = 'S' // and a fraction, if there is one
	digits    part = 'f' // of a fraction, behind a point that is a literal
	half      part = 'p'
	zone      part = 'z'
	zoneName  part = 'Z'
	epoch     part = 's'
	yearDay   part = 'j'
)

// step is a part, or the text that stands between two.
type step struct {
	part part
	text string
}

// program reads a format that has no routine of its own, step by step.
type program struct {
	steps []step
	has   [256]bool
}

func (p *program) add(part part, text string) {
	if n := len(p.steps); part == literal && n > 0 && p.steps[n-1].part == literal {
		p.steps[n-1].text += text
		return
	}
	p.steps = append(p.steps, step{part, text})
	p.has[part] = true
}

// fields is what was read so far.
type fields struct {
	year, month, day, yearDay uint
	hour, minute, second      uint
	nano, east, epoch         int64
	afternoon, zoned          bool
}

// read is the program's routine.
func (p *program) read(b []byte, loc *time.Location, now int64) (ns int64, n int) {
	f := fields{}
	for i := range p.steps {
		var size int
		if s := &p.steps[i]; s.part == literal {
			size = same(b[n:], s.text)
		} else {
			size = f.read(s.part, b[n:])
		}
		if size == 0 {
			return 0, 0
		}
		n += size
	}
	ns, ok := p.time(&f, loc, now)
	if !ok {
		return 0, 0
	}
	return ns, n
}

func (p *program) time(f *fields, loc *time.Location, now int64) (ns int64, ok bool) {
	if p.has[epoch] {
		return f.epoch*1e9 + f.nano, f.epoch < (1<<63-1)/1_000_000_000
	}
	if p.has[hour12] {
		if f.hour < 1 || f.hour > 12 {
			return 0, false
		}
		if f.hour %= 12; f.afternoon {
			f.hour += 12
		}
	}
	if f.hour > 23 || f.minute > 59 || f.second > 60 {
		return 0, false
	}
	sec := f.hour*3600 + f.minute*60 + f.second
	if f.zoned && f.east == 0 {
		loc = time.UTC
	}
	if !p.has[year] && !p.has[shortYear] {
		if f.zoned && f.east != 0 { // the moment lies east hours before what UTC would make of it
			ns, ok := latest(f.month, f.day, sec, f.nano, time.UTC, now+f.east*1e9)
			return ns - f.east*1e9, ok
		}
		return latest(f.month, f.day, sec, f.nano, loc, now)
	}
	var date int64
	switch {
	case p.has[yearDay]:
		last := uint(365)
		if leap(f.year) {
			last = 366
		}
		if !exists(f.year, 1, 1) || f.yearDay < 1 || f.yearDay > last {
			return 0, false
		}
		date = days(f.year, 1, 1) + int64(f.yearDay) - 1
	case exists(f.year, f.month, f.day):
		date = days(f.year, f.month, f.day)
	default:
		return 0, false
	}
	local := date*day + int64(sec)
	if f.zoned {
		return (local-f.east)*1e9 + f.nano, true
	}
	return instant(local, loc, now)*1e9 + f.nano, true
}

// read reads a part at the start of b and returns its length; 0 when it is not there.
func (f *fields) read(p part, b []byte) (n int) {
	switch p {
	case year:
		f.year, n = number(b, 4, 4)
	case shortYear:
		if f.year, n = number(b, 2, 2); f.year < 69 { // as POSIX has it
			f.year += 100
		}
		f.year += 1900
	case month:
		f.month, n = number(b, 1, 2)
	case monthName:
		f.month, n = name(b, months[:])
	case weekday:
		_, n = name(b, weekdays[:])
	case dayOf:
		if len(b) > 1 && b[0] == ' ' {
			f.day, n = number(b[1:], 1, 1)
			if n > 0 {
				n++
			}
			return n
		}
		f.day, n = number(b, 1, 2)
	case hour, hour12:
		f.hour, n = number(b, 1, 2)
	case minute:
		f.minute, n = number(b, 1, 2)
	case second:
		if f.second, n = number(b, 1, 2); n > 0 {
			nano, size := fraction(b[n:])
			f.nano, n = nano, n+size
		}
	case digits:
		f.nano, n = bare(b)
	case yearDay:
		f.yearDay, n = number(b, 3, 3)
	case half:
		return f.readHalf(b)
	case epoch:
		if f.epoch, n = count(b, 9); n > 0 {
			nano, size := fraction(b[n:])
			f.nano, n = nano, n+size
		}
	case zone:
		f.east, n = zoneOf(b)
		f.zoned = n > 0
	case zoneName:
		n = max(same(b, "UTC"), same(b, "GMT"), same(b, "Z"))
		f.zoned = n > 0
	}
	return n
}

func (f *fields) readHalf(b []byte) int {
	if len(b) < 2 || b[1]|0x20 != 'm' {
		return 0
	}
	switch b[0] | 0x20 {
	case 'p':
		f.afternoon = true
	case 'a':
	default:
		return 0
	}
	return 2
}

// bare reads the digits of a fraction without the point, as ns.
func bare(b []byte) (nano int64, n int) {
	scale := int64(1e9)
	for n < len(b) && isDigit(b[n]) {
		scale /= 10
		nano += int64(b[n]-'0') * scale
		n++
	}
	return nano, n
}

func number(b []byte, least, most int) (v uint, n int) {
	for n < len(b) && n < most && isDigit(b[n]) {
		v = v*10 + uint(b[n]-'0')
		n++
	}
	if n < least {
		return 0, 0
	}
	return v, n
}

var months = [...]string{"January", "February", "March", "April", "May", "June", "July", "August",
	"September", "October", "November", "December"}

var weekdays = [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}

// name reads a name of the list, whole or by its first three letters, and returns its
// place in the list, from 1.
func name(b []byte, list []string) (i uint, n int) {
	if len(b) < 3 {
		return 0, 0
	}
	for i, full := range list {
		if fold(b[:3], full[:3]) {
			if len(b) >= len(full) && fold(b[:len(full)], full) {
				return uint(i) + 1, len(full)
			}
			return uint(i) + 1, 3
		}
	}
	return 0, 0
}

func fold(b []byte, text string) bool {
	for i := range b {
		if b[i]|0x20 != text[i]|0x20 {
			return false
		}
	}
	return true
}

// same returns how long text is if b begins with it, else 0.
func same(b []byte, text string) int {
	if len(b) >= len(text) && string(b[:len(text)]) == text {
		return len(text)
	}
	return 0
}

// example prints a time in the program's format, for the errors.
func (p *program) example() string {
	var text strings.Builder
	at := time.Date(2009, 11, 10, 23, 0, 0, 123_000_000, time.UTC)
	for _, s := range p.steps {
		if s.part == literal {
			text.WriteString(s.text)
			continue
		}
		text.WriteString(at.Format(goOf[s.part]))
	}
	return strings.ReplaceAll(text.String(), "@epoch", "1257894000")
}

var goOf = map[part]string{year: "2006", shortYear: "06", month: "01", monthName: "Jan", dayOf: "02", weekday: "Mon",
	hour: "15", hour12: "03", minute: "04", second: "05", half: "PM", zone: "-0700", zoneName: "MST",
	epoch: "@epoch", yearDay: "002", digits: "123"}
