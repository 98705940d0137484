package deadletter

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/record"
)

// someLetters have every field, the fewest, and bytes that are hard on JSON.
func someLetters() []Letter {
	at := time.Unix(1700000000, 123456789).UTC()
	base := Letter{
		Time: 1700000000000000001, Labels: record.Labels{{Name: "app", Value: `we"b`}, {Name: "zone", Value: "é"}},
		Metadata: record.Labels{{Name: "image", Value: "x:1"}}, Line: []byte("a line"),
		Source: Origin{"container:1", "container", "web-1"}, Output: record.Stderr,
		Sink: "loki", Reason: "too_old", Detail: "says \x1b[31mLoki", FirstTry: at, LastTry: at.Add(time.Hour),
	}
	bare := Letter{Time: -5, Line: []byte{}, Sink: "loki", FirstTry: at, LastTry: at}
	out := []Letter{base, bare}
	for _, line := range []string{"bad \xff\x00", "\x1b]0;x\x07", `,"last_try":"2001-01-01T00:00:00Z"}`, strings.Repeat("é", 40_000), "\u2028 \r\n\t"} {
		l := base
		l.Line, l.Truncated = []byte(line), true
		out = append(out, l)
	}
	return out
}

func TestALetterIsReadAsItWasWritten(t *testing.T) {
	for _, want := range someLetters() {
		line := want.Append(nil)
		if strings.Count(string(line), "\n") != 1 || line[len(line)-1] != '\n' {
			t.Errorf("%q is not one line", line)
		}
		got, err := Parse(line)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-written +read):\n%s", diff)
		}
		f := file{}
		f.count(line[:len(line)-1])
		if !f.newest.Equal(want.LastTry) || f.size != int64(len(line)) || f.lines != 1 {
			t.Errorf("counted as %+v, the last try was %v", f, want.LastTry)
		}
	}
}

func TestALetterOfAnEarlierVersionIsRead(t *testing.T) {
	got, err := Parse([]byte(`{"time":"1970-01-01T00:00:00.000000001Z","labels":{"a":"b"},"line":"x","sink":"loki","reason":"r","detail":"d","at":"2026-01-02T03:04:05Z"}`))
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err != nil || string(got.Line) != "x" || !got.FirstTry.Equal(at) || !got.LastTry.Equal(at) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatIsNoLetterIsAnError(t *testing.T) {
	for _, line := range []string{"", "{}", "null", "[]", "   ", `{"time":"1970-01-01T00:00:01Z"}`, `{"line":"x"}`, `{"time":"yesterday","line":"x"}`, `{"time":"1970-01-01T00:00:01Z","line":"x"`} {
		if l, err := Parse([]byte(line)); err == nil {
			t.Errorf("%q was read as %+v", line, l)
		}
	}
}

// What a sink is given again is what it was given first, in the order of the letters.
func TestBatchesGiveTheLettersBack(t *testing.T) {
	var want []Letter
	for i, l := range append(someLetters(), someLetters()...) {
		l.Time += int64(i)
		want = append(want, l)
	}
	streams := map[string]*record.Source{}
	views, at := Batches(want, streams)
	var got []Letter
	for v, view := range views {
		for i := view.From; i < view.To; i++ {
			l := letterOf(view.Batch, i)
			n := len(got)
			if at[n].View != v || at[n].Entry != i {
				t.Errorf("letter %d is said to be at %+v, and is at view %d entry %d", n, at[n], v, i)
			}
			l.Sink, l.Reason, l.Detail, l.FirstTry, l.LastTry = want[n].Sink, want[n].Reason, want[n].Detail, want[n].FirstTry, want[n].LastTry
			if len(l.Labels) == 0 {
				l.Labels, l.Metadata, l.Line = nil, nil, []byte{}
			}
			got = append(got, l)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-letters +entries):\n%s", diff)
	}
	if len(streams) != 2 || len(views) != 5 {
		t.Errorf("%d sources, %d views; want one source for each stream and a view for each run", len(streams), len(views))
	}
	if again, _ := Batches(want, streams); again[0].Batch.Source != views[0].Batch.Source {
		t.Error("the second call made sources of its own")
	}
}
