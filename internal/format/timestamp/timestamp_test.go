package timestamp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// reading is the moment at which the lines of these tests are read.
var reading = time.Date(2026, 11, 22, 14, 0, 0, 0, time.UTC)

func zoneNamed(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func compiled(t testing.TB, o Options) *Pattern {
	t.Helper()
	p, err := Compile(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func expect(t *testing.T, p *Pattern, line string, now time.Time, want string) {
	t.Helper()
	got, err := p.Parse([]byte(line), now.UnixNano())
	if err != nil {
		t.Errorf("%q: %v", line, err)
		return
	}
	if text := time.Unix(0, got.Time).UTC().Format(time.RFC3339Nano); text != want {
		t.Errorf("%q is %s; want %s", line, text, want)
	}
}

func refused(t *testing.T, p *Pattern, line string) {
	t.Helper()
	if got, err := p.Parse([]byte(line), reading.UnixNano()); err == nil {
		t.Errorf("%q is read as %s; want an error", line, time.Unix(0, got.Time).UTC())
	}
}

func TestEveryFormatReadsWhatItsLogsHave(t *testing.T) {
	for _, c := range []struct{ format, line, want string }{
		{"rfc3339", "2024-02-29T23:59:59Z x", "2024-02-29T23:59:59Z"},
		{"rfc3339", "2016-10-06T02:17:09.669794202+02:00 x", "2016-10-06T00:17:09.669794202Z"},
		{"rfc3339", "2016-12-31t23:59:60Z", "2017-01-01T00:00:00Z"},
		{"rfc3339nano", "2016-10-06 00:17:09.6-00:30", "2016-10-06T00:47:09.6Z"},
		{"rfc3339nano", "2016-10-06T00:17:09.1234567891Z", "2016-10-06T00:17:09.123456789Z"},
		{"iso8601", "2026-03-04 05:06:07,089 INFO x", "2026-03-04T05:06:07.089Z"},
		{"iso8601", "2026-03-04T05:06:07.089+0100 x", "2026-03-04T04:06:07.089Z"},
		{"iso8601", "2026-03-04 05:06:07 -0500 x", "2026-03-04T10:06:07Z"},
		{"iso8601", "2026-03-04 05:06:07 -x", "2026-03-04T05:06:07Z"},
		{"iso8601", "2026-03-04T05:06:07+01", "2026-03-04T04:06:07Z"},
		{"common_log", `127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /"`, "2000-10-10T20:55:36Z"},
		{"go", "2009/11/10 23:00:00 x", "2009-11-10T23:00:00Z"},
		{"go", "2009/11/10 23:00:00.123456 x", "2009-11-10T23:00:00.123456Z"},
		{"nginx_error", "2026/01/02 03:04:05 [error] 7#7: x", "2026-01-02T03:04:05Z"},
		{"klog", "I0102 15:04:05.123456       1 main.go:7] x", "2026-01-02T15:04:05.123456Z"},
		{"syslog", "Jan  2 15:04:05 host x", "2026-01-02T15:04:05Z"},
		{"syslog", "Jan 2 15:04:05 host x", "2026-01-02T15:04:05Z"},
		{"syslog", "Jan 02 15:04:05.250 host x", "2026-01-02T15:04:05.25Z"},
		{"unix", "1257894000 x", "2009-11-10T23:00:00Z"},
		{"unix", "1257894000.5 x", "2009-11-10T23:00:00.5Z"},
		{"unix_ms", "1257894000123", "2009-11-10T23:00:00.123Z"},
		{"unix_us", "1257894000123456", "2009-11-10T23:00:00.123456Z"},
		{"unix_ns", "1257894000123456789", "2009-11-10T23:00:00.123456789Z"},
		{"%d/%b/%Y %H:%M:%S.%f", "02/Jan/2026 03:04:05.06 x", "2026-01-02T03:04:05.06Z"},
		{"%Y%m%d-%H%M%S,%L", "20260102-030405,600 x", "2026-01-02T03:04:05.6Z"},
		{"%a %b %e %T %Z %Y", "Fri Jan  2 03:04:05 UTC 2026 x", "2026-01-02T03:04:05Z"},
		{"%m/%d/%y %I:%M %p", "1/2/26 12:04 AM x", "2026-01-02T00:04:00Z"},
		{"%Y-%j %R", "2024-366 23:59", "2024-12-31T23:59:00Z"},
		{"%s", "1257894000.25", "2009-11-10T23:00:00.25Z"},
		{"%b %d %H:%M %z", "Jan 1 01:30 +0200", "2025-12-31T23:30:00Z"},
		{"Mon Jan 02 15:04:05.000000 2006", "Fri Sep 09 10:42:29.902022 2011 x", "2011-09-09T10:42:29.902022Z"},
		{"02-Jan-2006 15:04:05.000", "30-Jul-2026 03:04:05.600 x", "2026-07-30T03:04:05.6Z"},
		{"Monday, January 2, 2006 3:04 PM -07:00", "Friday, July 3, 2026 3:04 pm +02:00", "2026-07-03T13:04:00Z"},
	} {
		expect(t, compiled(t, Options{Format: c.format}), c.line, reading, c.want)
	}
}

func TestEveryExampleIsReadByItsFormat(t *testing.T) {
	for _, f := range formats {
		p := compiled(t, Options{Format: f.name})
		if _, err := p.Parse([]byte(f.after+f.example), reading.UnixNano()); err != nil {
			t.Errorf("%s does not read its own example: %v", f.name, err)
		}
	}
}

func TestWhatIsNoTimestampIsRefused(t *testing.T) {
	for format, lines := range map[string][]string{
		"rfc3339": {"", "x", "2026-01-02T03:04:05", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-02T24:00:00Z",
			"2026-01-02T03:60:05Z", "2026-01-02T03:04:61Z", "2026-1-02T03:04:05Z", "2026-01-02T03:04:05+02", "2026-01-02T03:04:05+0200",
			"2026-01-02T03:04:05+24:00", "1677-01-01T00:00:00Z", "2262-01-01T00:00:00Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05Z7"},
		"iso8601":             {"2026-01-02_03:04:05", "2026-04-31 03:04:05"},
		"common_log":          {"127.0.0.1 - -", "[10/Okt/2000:13:55:36 -0700]", "[31/Sep/2000:13:55:36 -0700]", "[10/Oct/2000:13:55:36 +7:00]"},
		"klog":                {"X0102 15:04:05.1 x", "I0230 15:04:05.1 x", "I0102 15:04:5"},
		"syslog":              {"Jan 32 15:04:05 x", "Jat  2 15:04:05 x", "Jan  2 15:04", "Feb 30 00:00:00 x"},
		"unix":                {"1257894000123", "12", "12578940001"},
		"unix_ms":             {"1257894000", "1257894000123456"},
		"unix_ns":             {"9999999999999999999", "1257894000"},
		"%H:%M:%S %d.%m.%Y":   {"25:00:00 01.01.2026", "10:00:00 29.02.2025", "10:00:00", "10:00:00 01.01.20"},
		"%Y-%m-%d %I:%M %p":   {"2026-01-02 13:00 PM", "2026-01-02 00:00 AM", "2026-01-02 11:00 XM"},
		"%Y-%m-%d %H:%M %Z":   {"2026-01-02 13:00 CST", "2026-01-02 13:00 EST"},
		"2006-002 15:04":      {"2025-366 00:00", "2025-000 00:00"},
		"Jan 2 2006 15:04:05": {"Foo 2 2026 00:00:00"},
	} {
		p := compiled(t, Options{Format: format})
		for _, line := range lines {
			refused(t, p, line)
		}
	}
}

func TestAMissingYearIsTheLatestThatIsNotInTheFuture(t *testing.T) {
	at := func(text string) time.Time {
		when, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	p := compiled(t, Options{Format: "syslog"})
	for _, c := range []struct{ line, now, want string }{
		{"Dec 31 23:59:59 h", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z"},
		{"Jan  1 00:00:01 h", "2026-12-31T23:59:59Z", "2027-01-01T00:00:01Z"}, // the host's clock is behind
		{"Jan  2 00:00:01 h", "2026-12-31T23:59:59Z", "2026-01-02T00:00:01Z"},
		{"Feb 29 12:00:00 h", "2027-03-01T00:00:00Z", "2024-02-29T12:00:00Z"},
		{"Feb 29 12:00:00 h", "2028-02-29T00:00:00Z", "2028-02-29T12:00:00Z"},
		{"Feb 29 12:00:00 h", "2103-06-01T00:00:00Z", "2096-02-29T12:00:00Z"}, // 2100 has none
		{"Nov 23 13:59:59 h", "2026-11-22T14:00:00Z", "2026-11-23T13:59:59Z"},
		{"Nov 23 14:00:01 h", "2026-11-22T14:00:00Z", "2025-11-23T14:00:01Z"},
	} {
		expect(t, p, c.line, at(c.now), c.want)
	}
	tokyo := compiled(t, Options{Format: "syslog", Zone: zoneNamed(t, "Asia/Tokyo")})
	expect(t, tokyo, "Jan  1 08:59:00 h", at("2026-12-31T23:59:00Z"), "2026-12-31T23:59:00Z")
	expect(t, tokyo, "Dec 31 23:59:00 h", at("2026-12-31T15:01:00Z"), "2026-12-31T14:59:00Z")
}

func TestTheHourThatHappensTwiceAndTheOneThatNeverDoes(t *testing.T) {
	berlin := compiled(t, Options{Format: "iso8601", Zone: zoneNamed(t, "Europe/Berlin")})
	line := "2026-10-25 02:30:00,000 x" // 00:30 UTC in summer time, 01:30 in winter time
	expect(t, berlin, line, time.Date(2026, 10, 25, 0, 30, 1, 0, time.UTC), "2026-10-25T00:30:00Z")
	expect(t, berlin, line, time.Date(2026, 10, 25, 1, 30, 1, 0, time.UTC), "2026-10-25T01:30:00Z")
	expect(t, berlin, "2026-10-25 01:59:59", reading, "2026-10-24T23:59:59Z")
	expect(t, berlin, "2026-10-25 03:00:00", reading, "2026-10-25T02:00:00Z")
	expect(t, berlin, "2026-03-29 02:30:00", reading, "2026-03-29T01:30:00Z") // never was
	expect(t, berlin, "2026-03-29 01:59:59", reading, "2026-03-29T00:59:59Z")
	expect(t, berlin, "2026-03-29 03:00:00", reading, "2026-03-29T01:00:00Z")
	expect(t, berlin, "2026-07-01 00:00:00", reading, "2026-06-30T22:00:00Z")

	lordHowe := compiled(t, Options{Format: "iso8601", Zone: zoneNamed(t, "Australia/Lord_Howe")}) // half an hour
	expect(t, lordHowe, "2026-04-05 01:45:00", reading, "2026-04-04T15:15:00Z")
	newYork := compiled(t, Options{Format: "%b %d %Y %H:%M", Zone: zoneNamed(t, "America/New_York")})
	expect(t, newYork, "Nov 01 2026 01:30", time.Date(2026, 11, 1, 5, 30, 0, 0, time.UTC), "2026-11-01T05:30:00Z")
}

func TestTheTimestampIsFoundWhereItIsSaidToBe(t *testing.T) {
	for _, c := range []struct {
		o          Options
		line       string
		start, end int // 0, 0: not there
	}{
		{Options{Format: "rfc3339", Column: 3}, "<7>2026-01-02T03:04:05Z x", 3, 23},
		{Options{Format: "rfc3339", After: "ts="}, `level=info ts=2026-01-02T03:04:05Z x`, 14, 34},
		{Options{Format: "unix", After: `"(ts|time)":`}, `{"a":1,"time":1257894000}`, 14, 24},
		{Options{Format: "iso8601", After: `^\S+ \[`}, "app [2026-01-02 03:04:05,1] x", 5, 26},
		{Options{Format: "iso8601", After: `^\[`}, "app [2026-01-02 03:04:05,1] x", 0, 0},
		{Options{Format: "common_log", After: "at "}, "at 10/Oct/2000:13:55:36 -0700", 3, 29},
		{Options{Format: "rfc3339", After: "ts="}, "nothing", 0, 0},
		{Options{Format: "rfc3339", Column: 30}, "short", 0, 0},
		{Options{Format: "rfc3339", After: "é+ "}, "\xff éé 2026-01-02T03:04:05Z", 7, 27},
		{Options{Format: "rfc3339", After: "ts="}, strings.Repeat("x", maxSearch) + "ts=2026-01-02T03:04:05Z", 0, 0},
	} {
		p := compiled(t, c.o)
		got, err := p.Parse([]byte(c.line), reading.UnixNano())
		if c.end == 0 && err == nil || c.end > 0 && (err != nil || got.Start != c.start || got.End != c.end) {
			t.Errorf("%+v, %.40q: %d–%d, %v; want %d–%d", c.o, c.line, got.Start, got.End, err, c.start, c.end)
		}
	}
}

func TestErrorsSayWhatWasExpected(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Format: "rfc33339"}, "the names are rfc3339, rfc3339nano"},
		{Options{Format: ""}, "no known name"},
		{Options{Format: "%Y-%m-%d %Q"}, "%Q is not known; there are %Y"},
		{Options{Format: "%H:%M:%S"}, "has no month"},
		{Options{Format: "%m %H:%M:%S"}, "has no day"},
		{Options{Format: "2006-01-02"}, "has no hour"},
		{Options{Format: "2006-01-02 03:04"}, "AM or PM"},
		{Options{Format: "%j %H:%M"}, "has no year"},
		{Options{Format: "%Y-%m-%d %H"}, "has no minute"},
		{Options{Format: "%Y %"}, "single %"},
		{Options{Format: "unix", After: "("}, "missing closing )"},
		{Options{Format: "unix", After: "x", Column: 1}, "use one of them"},
		{Options{Format: "unix", Column: -1}, "between 0 and"},
	} {
		if _, err := Compile(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want an error with %q", c.o, err, c.want)
		}
	}
	_, err := compiled(t, Options{Format: "rfc3339"}).Parse([]byte("hello"), 0)
	if err == nil || !strings.Contains(err.Error(), "2009-11-10T23:00:00Z") {
		t.Errorf("%v; want an example", err)
	}
	_, err = compiled(t, Options{Format: "%d.%m.%Y %H:%M"}).Parse([]byte("hello"), 0)
	if err == nil || !strings.Contains(err.Error(), "10.11.2009 23:00") {
		t.Errorf("%v; want an example", err)
	}
}

// What Go prints, these routines read: package time is the judge.
func TestFormatsAgreeWithPackageTime(t *testing.T) {
	zones := []*time.Location{time.UTC, zoneNamed(t, "Europe/Berlin"), zoneNamed(t, "Asia/Kathmandu"), zoneNamed(t, "America/New_York")}
	layouts := map[string]string{"rfc3339": time.RFC3339, "rfc3339nano": time.RFC3339Nano, "common_log": "[02/Jan/2006:15:04:05 -0700",
		"iso8601": "2006-01-02 15:04:05,000 -0700", "%a, %d %b %Y %H:%M:%S %z": time.RFC1123Z, "%Y-%jT%T%z": "2006-002T15:04:05Z07:00"}
	for _, layout := range []string{time.RFC850[:len(time.RFC850)-3] + "-0700", time.RubyDate, "2.1.06 3:04:05.000000 pm Z0700", "January _2 2006 15:04:05 -07:00"} {
		layouts[layout] = layout
	}
	patterns := map[string]*Pattern{}
	for format := range layouts {
		patterns[format] = compiled(t, Options{Format: format})
	}
	rapid.Check(t, func(t *rapid.T) {
		when := time.Unix(rapid.Int64Range(-1<<32, 1<<32).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		when = when.In(rapid.SampledFrom(zones).Draw(t, "zone"))
		for format, layout := range layouts {
			text := when.Format(layout)
			want, err := time.Parse(layout, text)
			if err != nil {
				t.Fatal(err)
			}
			if y := want.Year(); y < 1969 || y > 2068 {
				if strings.Contains(layout, "06") && !strings.Contains(layout, "2006") {
					continue // two digits of a year name no other
				}
			}
			got, err := patterns[format].Parse([]byte(text), reading.UnixNano())
			if err != nil || got.Time != want.UnixNano() || got.End != len(text) {
				t.Fatalf("%s: %q is %s (%d bytes), %v; want %s", format, text, time.Unix(0, got.Time).UTC(), got.End, err, want)
			}
		}
	})
}

// What a zone's clocks show is read back, whenever it is unambiguous or was read at once.
func TestLocalTimesAreReadBack(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Kiritimati", "America/St_Johns"}
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		when := time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "s"), 0).In(zone)
		text := when.Format("2006-01-02 15:04:05")
		ns, n := ISO8601([]byte(text), zone, when.UnixNano())
		if n != len(text) || ns != when.UnixNano() {
			t.Fatalf("%s of %s is %s", text, zone, time.Unix(0, ns).In(zone))
		}
		short := when.Format(time.Stamp)
		if ns, n := Syslog([]byte(short), zone, when.UnixNano()); n != len(short) || ns != when.UnixNano() {
			t.Fatalf("%s of %s is %s; want %s", short, zone, time.Unix(0, ns).In(zone), when)
		}
	})
}

func TestNothingIsAllocatedForALine(t *testing.T) {
	now := reading.UnixNano()
	for _, b := range benchmarks {
		p := compiled(t, Options{Format: b.format, After: b.after, Zone: zoneNamed(t, "Europe/Berlin")})
		if p.after != nil && raceDetector {
			continue // it makes the pool that package regexp has its memory from forget some of it
		}
		line := []byte(b.line)
		if n := testing.AllocsPerRun(100, func() { _, _ = p.Parse(line, now) }); n != 0 {
			t.Errorf("%s: %v allocations for a line", b.format, n)
		}
		bad := []byte("[nothing here]")
		if n := testing.AllocsPerRun(100, func() { _, _ = p.Parse(bad, now) }); n != 0 {
			t.Errorf("%s: %v allocations for a line without a timestamp", b.format, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range formats {
		f.Add(c.name, []byte(c.after+c.example))
	}
	f.Add("%a %b %e %T %Z %Y", []byte("Fri Jan  2 03:04:05 UTC 2026"))
	f.Add("Jan _2 15:04:05.000", []byte("Jan  2 03:04:05.123"))
	berlin := zoneNamed(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, format string, line []byte) {
		p, err := Compile(Options{Format: format, Zone: berlin})
		if err != nil {
			return
		}
		got, err := p.Parse(line, reading.UnixNano())
		if err != nil {
			return
		}
		if got.Start < 0 || got.End <= got.Start || got.End > len(line) {
			t.Fatalf("%q: bytes %d to %d", line, got.Start, got.End)
		}
		again, err := p.Parse(line[:got.End], reading.UnixNano())
		if err != nil || again != got {
			t.Fatalf("%q by %q: %+v; without what follows %+v, %v", line, format, got, again, err)
		}
	})
}

var benchmarks = []struct{ format, after, line, layout, text string }{
	{"rfc3339", "", "2016-10-06T00:17:09Z x", time.RFC3339, "2016-10-06T00:17:09Z"},
	{"rfc3339nano", "", "2016-10-06T00:17:09.669794202Z x", time.RFC3339Nano, "2016-10-06T00:17:09.669794202Z"},
	{"iso8601", "", "2026-03-04 05:06:07,089 x", "2006-01-02 15:04:05,000", "2026-03-04 05:06:07,089"},
	{"common_log", "", `127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /"`, "02/Jan/2006:15:04:05 -0700", "10/Oct/2000:13:55:36 -0700"},
	{"go", "", "2009/11/10 23:00:00 x", "2006/01/02 15:04:05", "2009/11/10 23:00:00"},
	{"klog", "", "I0102 15:04:05.123456 1 main.go:7] x", "0102 15:04:05.000000", "0102 15:04:05.123456"},
	{"syslog", "", "Jan  2 15:04:05 host x", time.Stamp, "Jan  2 15:04:05"},
	{"unix_ms", "", "1257894000123 x", "", ""},
	{"%a %b %e %T %Y", "", "Fri Jan  2 03:04:05 2026 x", time.ANSIC, "Fri Jan  2 03:04:05 2026"},
	{"rfc3339", `^\S+ (INFO|WARN) `, "app INFO 2016-10-06T00:17:09Z x", "", ""},
}

func BenchmarkParse(b *testing.B) {
	berlin := zoneNamed(b, "Europe/Berlin")
	now := reading.UnixNano()
	for _, c := range benchmarks {
		for zone, loc := range map[string]*time.Location{"utc": time.UTC, "berlin": berlin} {
			b.Run(fmt.Sprintf("%s/%s%s", strings.ReplaceAll(c.format, "/", "|"), zone, c.after), func(b *testing.B) {
				p, line := compiled(b, Options{Format: c.format, After: c.after, Zone: loc}), []byte(c.line)
				b.SetBytes(int64(len(line)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := p.Parse(line, now); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		if c.layout == "" {
			continue
		}
		b.Run(fmt.Sprintf("%s/package_time", strings.ReplaceAll(c.format, "/", "|")), func(b *testing.B) {
			line := []byte(c.text)
			for b.Loop() {
				if _, err := time.ParseInLocation(c.layout, string(line), berlin); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
