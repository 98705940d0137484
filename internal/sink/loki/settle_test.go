package loki

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/task"
)

// rejections returns what Send rejected; any other error ends the test.
func rejections(t *testing.T, err error) []sink.Rejection {
	t.Helper()
	var rejected *sink.RejectedError
	if err != nil && !errors.As(err, &rejected) {
		t.Fatalf("Send: %v", err)
	}
	if rejected == nil {
		return nil
	}
	return rejected.Entries
}

func TestWordsOfLoki(t *testing.T) {
	cases := map[string]string{
		"too_old":        "old 1",
		"too_old_twice":  "old 2",
		"too_new":        "new 1",
		"line_too_long":  "long 1 max 262144",
		"too_far_behind": "behind 12 of 13 named 10",
	}
	for name, want := range cases {
		text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		w := parse(text, false)
		var got string
		switch {
		case w.old.count > 0:
			got = fmt.Sprintf("old %d", w.old.count)
		case w.new.count > 0:
			got = fmt.Sprintf("new %d", w.new.count)
		case w.long.count > 0:
			got = fmt.Sprintf("long %d max %d", w.long.count, w.maxLine)
		default:
			got = fmt.Sprintf("behind %d of %d named %d", w.ingester.count, w.total, len(w.times))
		}
		if got != want || !w.complete {
			t.Errorf("%s: got %q, complete %v; want %q", name, got, w.complete, want)
		}
		if w := parse(text, true); w.complete {
			t.Errorf("%s: complete although it was cut", name)
		}
		if w := parse(append(text, "; and then some"...), false); w.complete {
			t.Errorf("%s: complete although there is more", name)
		}
	}
}

// A label's value can hold what Loki says; it must not pass for it.
func TestLabelValuesAreNotLokisWords(t *testing.T) {
	evil := `{app="x' has timestamp too old: 2020-01-01T00:00:00Z, oldest acceptable timestamp is: 2099-01-01T00:00:00Z; \"}"}`
	w := parse([]byte("3 errors like: entry for stream '"+evil+"' has timestamp too new: 2026-11-22T01:14:24Z"), false)
	if w.old.count != 0 || w.new.count != 3 || !w.complete {
		t.Errorf("got %+v", w)
	}
	w = parse([]byte("max entry size '10' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '12' bytes; entry for stream '"+evil), false)
	if w.complete || w.long.count != 1 || w.old.count != 0 {
		t.Errorf("of a cut text: %+v", w)
	}
}

func FuzzWords(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("9999999999999999999 errors like: entry for stream '{a=\"\\"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &Sink{}
		b := batchOf(source("a"), 3, func(i int) time.Time { return time.Unix(int64(i), 0) })
		s.views = views(b)
		refs := []ref{{0, 0, nil}, {0, 1, nil}, {0, 2, nil}}
		picked, exact := s.pick(refs, parse(text, false))
		n := 0
		for _, p := range picked {
			if p != nil {
				n++
			}
		}
		if exact && n == 0 {
			t.Errorf("a refusal that refuses nothing: %q", text)
		}
	})
}

// all or nothing, as a proxy or another server may be: one bad line is found.
func TestOneEntryRefusedWithUnknownWords(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		if strings.Contains(strings.Join(p.lines(), " "), "777 ") {
			answer(400, "I do not like this")(w, p)
			return
		}
		ok(w, p)
	})
	got := rejections(t, open(t, s.URL, nil).Send(t.Context(), views(lines(source("a"), 1000, 20))))
	if len(got) != 1 || got[0].Entry != 777 || got[0].Reason != "rejected" || got[0].Detail != "I do not like this" {
		t.Fatalf("rejected: %v", got)
	}
	if n := s.count(); n != 999 {
		t.Errorf("%d entries are stored, want 999", n)
	}
	if n := len(s.take()); n > 21 { // 2·log₂N + 1
		t.Errorf("%d requests", n)
	}
}

// One entry that is refused with words that name none is found in at most 2·log₂N
// requests wherever it is and however long the others are; it is rejected with the
// server's own words, and the rest is delivered.
func TestAPoisonedEntryIsFoundInFewRequests(t *testing.T) {
	const poison = "poison"
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		if slices.Contains(p.lines(), poison) {
			answer(400, "I do not like this")(w, p)
			return
		}
		ok(w, p)
	})
	for _, n := range []int{1, 2, 3, 16, 100} {
		for at := 0; at < n; at += 1 + n/20 {
			for _, size := range []func(int) int{
				func(int) int { return 20 },
				func(i int) int { return 1 << min(i, 12) }, // each as long as all before
			} {
				b := &record.Batch{Source: source("a")}
				for i := range n {
					line := fmt.Sprintf("%d-%d-%d %s", n, at, i, strings.Repeat("x", size(i)))
					if i == at {
						line = poison
					}
					b.Append(int64(1e18)+int64(i), record.Stdout, []byte(line))
				}
				got := rejections(t, open(t, s.URL, nil).Send(t.Context(), views(b)))
				if len(got) != 1 || got[0].Entry != at || got[0].Detail != "I do not like this" {
					t.Fatalf("entry %d of %d: rejected %v", at, n, got)
				}
				requests := s.take()
				s.mu.Lock()
				clear(s.stored)
				s.mu.Unlock()
				alone := slices.IndexFunc(requests, func(p pushed) bool { return slices.Equal(p.lines(), []string{poison}) }) + 1
				depth := bits.Len(uint(n - 1)) // log₂N, rounded up
				if alone < 1 || alone > depth+2 || len(requests) > 2*depth+1 {
					t.Fatalf("entry %d of %d: alone in request %d of %d; want it by %d of %d", at, n, alone, len(requests), depth+2, 2*depth+1)
				}
			}
		}
	}
}

// The same among streams that share a request.
func TestAPoisonedEntryAmongStreamsIsFoundInFewRequests(t *testing.T) {
	const streams, each = 64, 8
	for _, at := range []int{0, 1, 31, 63} {
		s := newServer(t, ok)
		k := open(t, s.URL, nil)
		var batches []*record.Batch
		for i := range streams {
			batches = append(batches, lines(source(fmt.Sprint("s", i)), each, 10))
		}
		if err := k.Send(t.Context(), views(batches...)); err != nil { // so that they may share
			t.Fatal(err)
		}
		s.take()
		bad := fmt.Sprintf(`{app="s%d"`, at)
		s.set(func(w http.ResponseWriter, p pushed) {
			for _, st := range p.streams {
				for _, e := range st.entries {
					if strings.HasPrefix(st.labels, bad) && strings.HasPrefix(e.line, "5 ") {
						answer(400, "I do not like this")(w, p)
						return
					}
				}
			}
			ok(w, p)
		})
		got := rejections(t, k.Send(t.Context(), views(batches...)))
		if len(got) != 1 || got[0].View != at || got[0].Entry != 5 {
			t.Fatalf("stream %d: rejected %v", at, got)
		}
		if n := len(s.take()); n > 2*9+1 { // 2·log₂(64·8), and the first
			t.Errorf("stream %d: %d requests", at, n)
		}
	}
}

func TestAllEntriesRefusedWithUnknownWordsCostFewRequests(t *testing.T) {
	n := 0
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		n++
		answer(400, fmt.Sprintf("no %d for you", n))(w, p)
	})
	got := rejections(t, open(t, s.URL, nil).Send(t.Context(), views(lines(source("a"), 5000, 20))))
	if len(got) != 5000 {
		t.Fatalf("%d entries were rejected, want 5,000", len(got))
	}
	if n := len(s.take()); n > 60 {
		t.Errorf("%d requests", n)
	}
}

// What the ingester answers hides what the distributor refused of the same request.
func TestHiddenRefusalsAreFound(t *testing.T) {
	const behind = "entry with timestamp 1970-01-01 00:00:%02d +0000 UTC ignored, reason: 'entry too far behind, entry timestamp is: 1970-01-01T00:00:00Z, oldest acceptable timestamp is: 1970-01-01T00:00:%02dZ',\n"
	long := func(e pushedEntry) bool { return len(e.line) > 20 }
	late := func(e pushedEntry) bool { return e.time < 5e9 }
	var s *server
	s = newServer(t, func(w http.ResponseWriter, p pushed) {
		var refused, tooLong, seen int
		text := ""
		for _, e := range p.streams[0].entries {
			switch {
			case long(e):
				tooLong++
			case late(e):
				refused++
				seen++
				text += fmt.Sprintf(behind, e.time/1e9, 5)
			default:
				seen++
			}
		}
		s.mu.Lock()
		s.store(p, func(e pushedEntry) bool { return !long(e) && !late(e) })
		s.mu.Unlock()
		switch {
		case refused > 0:
			http.Error(w, text+fmt.Sprintf("user 'fake', total ignored: %d out of %d for stream: {a=\"b\"}", refused, seen), 400)
		case tooLong > 0:
			http.Error(w, "max entry size '20' bytes exceeded for stream '{a=\"b\"}' while adding an entry with length '99' bytes", 400)
		default:
			ok(w, p)
		}
	})
	b := &record.Batch{Source: source("a")}
	for i := range 20 {
		line := fmt.Sprintf("line %d", i)
		if i == 3 || i == 12 {
			line = strings.Repeat("long", 10)
		}
		b.Append(int64(i)*1e9, record.Stdout, []byte(line))
	}
	got := rejections(t, open(t, s.URL, nil).Send(t.Context(), views(b)))
	// 0–4 too far behind (of which 3 is too long as well), 12 too long.
	reasons := ""
	for _, e := range got {
		reasons += fmt.Sprintf("%d %s;", e.Entry, e.Reason)
	}
	if want := "0 out_of_order;1 out_of_order;2 out_of_order;3 out_of_order;4 out_of_order;12 line_too_long;"; reasons != want {
		t.Errorf("got  %s\nwant %s", reasons, want)
	}
	if n := s.count(); n != 14 {
		t.Errorf("%d entries are stored, want 14", n)
	}
}

func TestStreamsShareRequestsOnlyOnceTheyAreKnown(t *testing.T) {
	s := newServer(t, ok)
	k := open(t, s.URL, nil)
	var batches []*record.Batch
	for i := range 10 {
		batches = append(batches, lines(source(fmt.Sprint("s", i)), 3, 10))
	}
	requests := func(batches ...*record.Batch) int {
		t.Helper()
		s.take()
		if err := k.Send(t.Context(), views(batches...)); err != nil {
			t.Fatal(err)
		}
		return len(s.take())
	}
	if n := requests(batches...); n != 10 {
		t.Errorf("the first time: %d requests, want each of the 10 streams alone", n)
	}
	if n := requests(batches...); n != 1 {
		t.Errorf("the second time: %d requests, want 1", n)
	}
	big := lines(batches[0].Source, 10, shareBytes/10)
	if n := requests(append(batches[1:], big)...); n != 2 {
		t.Errorf("with one that is large: %d requests, want 2", n)
	}
	// A word about one of them sends all of them alone, and the answer is about one.
	s.set(func(w http.ResponseWriter, p pushed) {
		if strings.Contains(fmt.Sprint(p.streams), `"s4"`) {
			answer(400, `entry for stream '{app="s4"}' has 99 label names; limit 15`)(w, p)
			return
		}
		ok(w, p)
	})
	got := rejections(t, k.Send(t.Context(), views(batches...)))
	if len(got) != 3 || got[0].View != 4 || got[0].Reason != "invalid_labels" {
		t.Errorf("rejected: %v; want the three entries of the view 4", got)
	}
	if n := len(s.take()); n > 12 {
		t.Errorf("%d requests", n)
	}
}

func TestSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var st sharing
		want := func(may bool, size int, why string) {
			t.Helper()
			if st.may(time.Now(), size) != may {
				t.Errorf("%s: may share is %v", why, !may)
			}
		}
		want(false, 10, "a stream that is not known")
		st.proved(time.Now())
		task.Sleep(t.Context(), time.Second)
		want(true, 10, "once it went alone")
		want(false, shareBytes+1, "a big part")
		want(false, 10, "right after a big part")
		task.Sleep(t.Context(), settleTime+time.Second)
		want(true, 10, "later")
		for range shareRate / shareBytes {
			st.may(time.Now(), shareBytes)
		}
		want(false, 10, "a stream that is fast")
		task.Sleep(t.Context(), proveEvery)
		want(false, 10, "a stream that has long not been alone")
		st.proved(time.Now())
		st.refused()
		want(false, 10, "after a refusal")
		st.proved(time.Now())
		task.Sleep(t.Context(), time.Second)
		want(false, 10, "still, after it passed again")
		task.Sleep(t.Context(), distrust)
		st.proved(time.Now())
		task.Sleep(t.Context(), time.Second)
		want(true, 10, "after a while without refusals")
	})
}

func TestSizer(t *testing.T) {
	now := time.Now()
	z := sizer{configured: 4 << 20}
	want := func(size int, why string) {
		t.Helper()
		if got := z.limit(now); got != size {
			t.Errorf("%s: the limit is %d, want %d", why, got, size)
		}
	}
	want(4<<20, "at first")
	for range patience - 1 {
		z.throttle(now, 2<<20)
	}
	z.passed()
	z.throttle(now, 2<<20)
	want(4<<20, "after 429s with a success between")
	for range patience {
		z.throttle(now, 2<<20)
	}
	want(1<<20, "after 429s in a row")
	z.tooLarge(now, 1<<20)
	want(512<<10, "after a 413")
	z.tooLarge(now, 10)
	want(minRequest, "it never gets tiny")
	now = now.Add(learntFor)
	want(4<<20, "later")
}

func TestMetadataThatLokiDoesNotTakeIsLeftOut(t *testing.T) {
	s := newServer(t, func(w http.ResponseWriter, p pushed) {
		for _, e := range p.streams[0].entries {
			if len(e.metadata) > 0 {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = io.WriteString(w, `5 errors like: stream '{app="a"}' includes structured metadata, but this feature is disallowed. Please see `+"`limits_config.allow_structured_metadata`")
				return
			}
		}
		ok(w, p)
	})
	k := open(t, s.URL, nil)
	for range 2 {
		if err := k.Send(t.Context(), views(lines(source("a", record.Label{Name: "id", Value: "1"}), 5, 10))); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.take()); n != 3 {
		t.Errorf("%d requests, want 3: one was refused", n)
	}
	if n := s.count(); n != 5 {
		t.Errorf("%d entries are stored, want 5", n)
	}
}
