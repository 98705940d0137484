package loki

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/sinktest"
	"github.com/logcapturer/log_capturer/test/harness"
)

// real is a test's part of a real Loki: a label that no other test has.
type real struct {
	testing.TB
	loki *harness.LokiServer
	sink *Sink
	run  string
	now  time.Time
}

func newReal(t testing.TB, l *harness.LokiServer, change func(*Config)) *real {
	t.Helper()
	r := &real{TB: t, loki: l, run: fmt.Sprint(time.Now().UnixNano()), now: time.Now()}
	r.sink = open(t, l.URL, func(c *Config) {
		c.Labels = map[string]string{"run": r.run}
		if change != nil {
			change(c)
		}
	})
	return r
}

// stored returns what Loki has of this test's entries for one app, oldest first.
func (r *real) stored(app string) []harness.Entry {
	r.Helper()
	streams, err := r.loki.Query(r.Context(), fmt.Sprintf(`{run=%q, app=%q}`, r.run, app), r.now.Add(-20*24*time.Hour), r.now.Add(2*time.Hour))
	if err != nil {
		r.Fatal(err)
	}
	var out []harness.Entry
	for _, s := range streams {
		out = append(out, s.Entries...)
	}
	return out
}

// wantRejected sends the views and returns the rejections, of which there must be n.
func (r *real) wantRejected(n int, reason string, views ...record.View) []sink.Rejection {
	r.Helper()
	err := r.sink.Send(r.Context(), views)
	var rejected *sink.RejectedError
	if !errors.As(err, &rejected) {
		r.Fatalf("Send: %v; want %d rejected entries", err, n)
	}
	if len(rejected.Entries) != n {
		r.Fatalf("%d entries were rejected, want %d: %v", len(rejected.Entries), n, err)
	}
	for _, e := range rejected.Entries {
		if e.Reason != reason || e.Detail == "" || len(e.Detail) > 1024 {
			r.Fatalf("entry %d: reason %q, detail %q (%d bytes); want reason %q", e.Entry, e.Reason, e.Detail, len(e.Detail), reason)
		}
	}
	return rejected.Entries
}

func batchOf(src *record.Source, lines int, at func(i int) time.Time) *record.Batch {
	b := &record.Batch{Source: src}
	for i := range lines {
		b.Append(at(i).UnixNano(), record.Stdout, fmt.Appendf(nil, "line %d", i))
	}
	return b
}

// checkStored checks that exactly the entries of b that are not rejected are stored.
func (r *real) checkStored(app string, b *record.Batch, rejected []sink.Rejection) {
	r.Helper()
	gone := map[int]bool{}
	for _, e := range rejected {
		gone[e.Entry] = true
	}
	got, n := r.stored(app), 0
	for i, e := range b.Entries {
		if gone[i] {
			continue
		}
		if n >= len(got) || got[n].Time != e.Time || got[n].Line != string(b.Line(i)) {
			r.Fatalf("entry %d is not where it should be among the %d that are stored", i, len(got))
		}
		n++
	}
	if n != len(got) {
		r.Fatalf("%d entries are stored, want %d", len(got), n)
	}
}

func TestRealSuite(t *testing.T) {
	l := harness.PrivateLoki(t, harness.LokiOptions{Config: "limits_config: {max_line_size: 2MB}\n"})
	sinktest.Run(t, sinktest.Harness{
		Once: true,
		// Loki stores any bytes; its JSON answers have U+FFFD for those that are no UTF-8.
		Line: func(line []byte) []byte { return []byte(string([]rune(string(line)))) },
		New: func(t testing.TB) sinktest.Instance {
			g := newGate(t, l.URL)
			r := newReal(t, &harness.LokiServer{URL: g.URL}, nil)
			return sinktest.Instance{Sink: r.sink, Break: g.fail, LoseReply: g.loseReply, Hang: g.hang, Received: func(t testing.TB) (out []sinktest.Entry) {
				streams, err := l.Query(t.Context(), fmt.Sprintf(`{run=%q}`, r.run), r.now.Add(-time.Hour), r.now.Add(time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				for _, s := range streams {
					for _, e := range s.Entries {
						out = append(out, sinktest.Entry{Source: s.Labels["source"], Output: s.Labels["output"], Time: e.Time, Line: []byte(e.Line)})
					}
				}
				return out
			}}
		},
	})
}

func TestRealStructuredMetadata(t *testing.T) {
	r := newReal(t, harness.Loki(t), nil)
	b := &record.Batch{Source: source("a", record.Label{Name: "container_id", Value: "4f5e"}, record.Label{Name: "__", Value: "underscores"})}
	b.Append(r.now.UnixNano(), record.Stdout, []byte("whole"))
	b.Append(r.now.UnixNano()+1, record.Stdout, []byte("cut"))
	b.Entries[1].Flags = record.Truncated
	if err := r.sink.Send(t.Context(), []record.View{record.Whole(b)}); err != nil {
		t.Fatal(err)
	}
	got := r.stored("a")
	if len(got) != 2 || got[0].Metadata["container_id"] != "4f5e" || got[0].Metadata["truncated"] != "" || got[1].Metadata["truncated"] != "true" {
		t.Errorf("got %+v", got)
	}
}

func TestRealOneTooOldEntryOfAThousand(t *testing.T) {
	r := newReal(t, harness.Loki(t), nil)
	b := batchOf(source("a"), 1000, func(i int) time.Time {
		if i == 400 {
			return r.now.Add(-8 * 24 * time.Hour)
		}
		return r.now.Add(time.Duration(i) * time.Millisecond)
	})
	rejected := r.wantRejected(1, "too_old", record.Whole(b))
	if rejected[0].Entry != 400 {
		t.Fatalf("entry %d was rejected, want 400", rejected[0].Entry)
	}
	b.Entries = append(b.Entries[:400], b.Entries[401:]...)
	r.checkStored("a", b, nil)
}

func TestRealManyTooOldEntriesOfManySeconds(t *testing.T) {
	r := newReal(t, harness.Loki(t), nil)
	// 2,000 sentences of Loki are more than is read of its answer.
	b := batchOf(source("a"), 2100, func(i int) time.Time {
		if i < 2000 {
			return r.now.Add(-9*24*time.Hour + time.Duration(i)*time.Second)
		}
		return r.now.Add(time.Duration(i) * time.Microsecond)
	})
	rejected := r.wantRejected(2000, "too_old", record.Whole(b))
	r.checkStored("a", b, rejected)
}

func TestRealTooNew(t *testing.T) {
	r := newReal(t, harness.Loki(t), nil)
	b := batchOf(source("a"), 100, func(i int) time.Time {
		if i >= 90 {
			return r.now.Add(time.Hour + time.Duration(i)*100*time.Millisecond)
		}
		return r.now.Add(time.Duration(i) * time.Millisecond)
	})
	rejected := r.wantRejected(10, "too_new", record.Whole(b))
	r.checkStored("a", b, rejected)
}

func TestRealLineTooLongAndTooOldAndTooNew(t *testing.T) {
	r := newReal(t, harness.Loki(t), nil)
	b := &record.Batch{Source: source("a")}
	at := r.now
	add := func(d time.Duration, line []byte) {
		at = at.Add(time.Millisecond)
		b.Append(at.Add(d).UnixNano(), record.Stdout, line)
	}
	long := bytes.Repeat([]byte("0123456789"), 30<<10)
	add(-9*24*time.Hour, []byte("old"))
	add(-8*24*time.Hour, long) // old and long: it is counted as old
	add(0, []byte("fine"))
	add(0, long)
	add(0, []byte("fine too"))
	add(0, long[:262144]) // the limit itself
	add(0, long[:262145])
	add(time.Hour, []byte("new"))
	err := r.sink.Send(t.Context(), []record.View{record.Whole(b)})
	var rejected *sink.RejectedError
	if !errors.As(err, &rejected) {
		t.Fatal(err)
	}
	got := ""
	for _, e := range rejected.Entries {
		got += fmt.Sprintf("%d %s;", e.Entry, e.Reason)
	}
	if want := "0 too_old;1 too_old;3 line_too_long;6 line_too_long;7 too_new;"; got != want {
		t.Fatalf("rejected %s want %s", got, want)
	}
	r.checkStored("a", b, rejected.Entries)
}

func TestRealTooFarBehind(t *testing.T) {
	for _, behind := range []int{1, 300} {
		r := newReal(t, harness.Loki(t), nil)
		first := batchOf(source("a"), 1, func(int) time.Time { return r.now })
		if err := r.sink.Send(t.Context(), []record.View{record.Whole(first)}); err != nil {
			t.Fatal(err)
		}
		b := batchOf(source("a"), 400, func(i int) time.Time {
			if i < behind {
				return r.now.Add(-3*time.Hour + time.Duration(i)*time.Second)
			}
			return r.now.Add(time.Duration(i) * time.Millisecond)
		})
		rejected := r.wantRejected(behind, "out_of_order", record.Whole(b))
		b.Entries = b.Entries[behind:]
		for i := range rejected {
			if rejected[i].Entry != i {
				t.Fatalf("entry %d was rejected, want %d", rejected[i].Entry, i)
			}
		}
		if got := r.stored("a"); len(got) != 1+400-behind {
			t.Fatalf("%d entries are stored, want %d", len(got), 1+400-behind)
		}
	}
}

// Times that go back, and a mistake of the distributor's kind in the same request,
// which the ingester's answer hides.
func TestRealTooFarBehindInDisorder(t *testing.T) {
	r := newReal(t, harness.Loki(t), nil)
	b := batchOf(source("a"), 200, func(i int) time.Time {
		switch {
		case i == 77:
			return r.now.Add(-8 * 24 * time.Hour)
		case i%2 == 1:
			return r.now.Add(-3*time.Hour - time.Duration(i)*time.Second)
		}
		return r.now.Add(time.Duration(i) * time.Millisecond)
	})
	err := r.sink.Send(t.Context(), []record.View{record.Whole(b)})
	var rejected *sink.RejectedError
	if !errors.As(err, &rejected) || len(rejected.Entries) != 100 {
		t.Fatalf("Send: %v; want 100 rejected entries", err)
	}
	for _, e := range rejected.Entries {
		if e.Entry%2 == 0 || e.Reason != "out_of_order" && e.Entry != 77 {
			t.Errorf("entry %d: %s", e.Entry, e.Reason)
		}
	}
	if got := r.stored("a"); len(got) != 100 {
		t.Errorf("%d entries are stored, want 100", len(got))
	}
}

// Loki answers 204 when the refused stream is not the last of its request: the fact
// that sharing is built on.
func TestRealRefusalInASharedRequestIsNotLost(t *testing.T) {
	l := harness.Loki(t)
	r := newReal(t, l, nil)
	at := func(d time.Duration) func(int) time.Time {
		return func(i int) time.Time { return r.now.Add(d + time.Duration(i)*time.Millisecond) }
	}
	send := func(d time.Duration) error {
		return r.sink.Send(t.Context(), []record.View{
			record.Whole(batchOf(source("a"), 5, at(d))), record.Whole(batchOf(source("b"), 5, at(0))),
		})
	}
	if err := send(0); err != nil {
		t.Fatal(err)
	}
	// A new sink, as after a restart, that reads old entries.
	r.sink = open(t, l.URL, func(c *Config) { c.Labels = map[string]string{"run": r.run} })
	err := send(-3 * time.Hour)
	var rejected *sink.RejectedError
	if !errors.As(err, &rejected) || len(rejected.Entries) != 5 || rejected.Entries[0].View != 0 {
		t.Fatalf("Send: %v; want the five of the first view rejected", err)
	}
	// And what is built on: the plain request loses them without a word.
	b := batchOf(source("a"), 5, at(-3*time.Hour))
	r.sink.plan(r.Context(), []record.View{record.Whole(b), record.Whole(batchOf(source("b"), 5, at(0)))})
	r.sink.push.Reset()
	for _, g := range r.sink.groups {
		r.sink.encode(g.stream, g.refs)
	}
	result, err := r.sink.post(t.Context())
	if err != nil || result.verdict != accepted {
		t.Errorf("this Loki tells of refusals in a shared request (%v, %+v): sharing could be simpler", err, result)
	}
	r.sink.release()
}

// TestRealStrict is for what a Loki with default limits cannot show.
func TestRealStrict(t *testing.T) {
	l := harness.PrivateLoki(t, harness.LokiOptions{Config: `limits_config:
  allow_structured_metadata: false
  volume_enabled: false
  max_label_names_per_series: 3
  ingestion_rate_mb: 0.5
  ingestion_burst_size_mb: 0.5
`})
	t.Run("too old within the second of the cutoff", func(t *testing.T) { tooOldWithinTheSecond(newReal(t, l, nil)) })
	t.Run("one stream has too many labels", func(t *testing.T) { tooManyLabels(newReal(t, l, nil)) })
	t.Run("structured metadata is not allowed", func(t *testing.T) { noMetadata(newReal(t, l, nil)) })
	t.Run("a request larger than the burst", func(t *testing.T) { largerThanTheBurst(newReal(t, l, nil)) })
}

func tooOldWithinTheSecond(r *real) {
	week := time.Now().Add(-7 * 24 * time.Hour)
	b := batchOf(source("a"), 1000, func(i int) time.Time { return week.Add(time.Duration(i-500) * 2 * time.Millisecond) })
	before := discarded(r)
	err := r.sink.Send(r.Context(), []record.View{record.Whole(b)})
	var rejected *sink.RejectedError
	if !errors.As(err, &rejected) || len(rejected.Entries) < 500 || len(rejected.Entries) > 999 {
		r.Fatalf("Send: %v; want about half of 1,000 rejected", err)
	}
	// Entries that old cannot be queried before they are flushed: Loki's own count is the judge.
	if n := discarded(r) - before; n != len(rejected.Entries) {
		r.Errorf("%d entries were rejected, Loki refused %d", len(rejected.Entries), n)
	}
	for i, e := range rejected.Entries {
		if e.Entry != i {
			r.Fatalf("rejection %d is of entry %d", i, e.Entry)
		}
	}
	// What is older still is not even sent.
	before = discarded(r)
	older := batchOf(source("a"), 100, func(i int) time.Time { return week.Add(time.Duration(i-500) * time.Hour) })
	if err := r.sink.Send(r.Context(), []record.View{record.Whole(older)}); !errors.As(err, &rejected) || len(rejected.Entries) != 100 {
		r.Fatalf("Send: %v; want all rejected", err)
	}
	if n := discarded(r) - before; n != 0 {
		r.Errorf("%d entries were sent to be refused", n)
	}
}

// discarded returns how many entries Loki has refused as too old.
func discarded(r *real) int {
	r.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(r.loki.URL + "/metrics")
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^loki_discarded_samples_total{.*greater_than_max_sample_age.*} (\d+)$`).FindSubmatch(text)
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		r.Fatal(err)
	}
	return n
}

func tooManyLabels(r *real) {
	many := source("many")
	many.Streams[record.Stdout] = record.NewStream(record.Labels{{Name: "app", Value: "many"}, {Name: "b", Value: "2"}, {Name: "c", Value: "3"}}, nil)
	at := func(i int) time.Time { return r.now.Add(time.Duration(i)) }
	few := batchOf(source("few"), 3, at)
	rejected := r.wantRejected(5, "invalid_labels", record.Whole(few), record.Whole(batchOf(many, 5, at)))
	if rejected[0].View != 1 {
		r.Errorf("the view %d was rejected, want 1", rejected[0].View)
	}
	r.checkStored("few", few, nil)
}

func noMetadata(r *real) {
	b := batchOf(source("a", record.Label{Name: "id", Value: "1"}), 5, func(i int) time.Time { return r.now.Add(time.Duration(i)) })
	if err := r.sink.Send(r.Context(), []record.View{record.Whole(b)}); err != nil {
		r.Fatal(err)
	}
	r.checkStored("a", b, nil)
}

func largerThanTheBurst(r *real) {
	b := &record.Batch{Source: source("a")}
	for i := range 80 { // 800 KB
		b.Append(r.now.UnixNano()+int64(i), record.Stdout, bytes.Repeat([]byte{'a' + byte(i%26)}, 10000))
	}
	tries := 0
	for end := time.Now().Add(30 * time.Second); ; tries++ {
		err := r.sink.Send(r.Context(), []record.View{record.Whole(b)})
		if err == nil {
			break
		}
		if time.Now().After(end) || !strings.Contains(err.Error(), "429") {
			r.Fatal(err)
		}
		pause(r.TB, 500*time.Millisecond)
	}
	if tries < patience {
		r.Errorf("it passed after %d refusals, want at least %d: is the limit of this test in force?", tries, patience)
	}
	r.checkStored("a", b, nil)
}

// TestRealWords compares what Loki says with testdata, which the other tests use.
// UPDATE_TESTDATA=1 writes them anew.
func TestRealWords(t *testing.T) {
	r := newReal(t, harness.Loki(t), nil)
	now, hours := r.now.UnixNano(), int64(time.Hour)
	cases := []struct {
		name  string
		lines func(b *record.Batch)
	}{
		{"too_old", func(b *record.Batch) { b.Append(now-8*24*hours, 0, []byte("x")) }},
		{"too_old_twice", func(b *record.Batch) {
			b.Append(now-8*24*hours, 0, []byte("x"))
			b.Append(now-8*24*hours+1, 0, []byte("x"))
			b.Append(now, 0, []byte("x"))
		}},
		{"too_new", func(b *record.Batch) { b.Append(now+hours, 0, []byte("x")) }},
		{"line_too_long", func(b *record.Batch) { b.Append(now, 0, make([]byte, 300<<10)) }},
		{"too_far_behind", func(b *record.Batch) {
			b.Append(now, 0, []byte("x"))
			for i := range int64(12) {
				b.Append(now-3*hours+i, 0, []byte("x"))
			}
		}},
	}
	for _, c := range cases {
		b := &record.Batch{Source: source(c.name)}
		c.lines(b)
		r.sink.plan(r.Context(), []record.View{record.Whole(b)})
		r.sink.push.Reset()
		r.sink.encode(r.sink.groups[0].stream, r.sink.groups[0].refs)
		result, err := r.sink.post(t.Context())
		r.sink.release()
		if err != nil || result.verdict != refused {
			t.Fatalf("%s: %v, %+v", c.name, err, result)
		}
		file := filepath.Join("testdata", c.name+".txt")
		if os.Getenv("UPDATE_TESTDATA") != "" {
			if err := os.WriteFile(file, result.answer.Body, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := shapeOfWords(result.answer.Body); got != shapeOfWords(want) {
			t.Errorf("%s: Loki says\n%s\ntestdata has\n%s", c.name, result.answer.Body, want)
		}
	}
}

var varying = regexp.MustCompile(`[0-9]+`)

// shapeOfWords replaces what differs from run to run.
func shapeOfWords(text []byte) string { return string(varying.ReplaceAll(text, []byte("0"))) }

func pause(t testing.TB, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}
