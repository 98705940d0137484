package harness

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/logcapturer/log_capturer/test/loggen/line"
)

// push sends lines to a tally as the agent does.
func push(t *testing.T, y *Tally, all []Entry) {
	t.Helper()
	stream := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), `{a="b"}`)
	for _, e := range all {
		entry := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), e.Line)
		stream = protowire.AppendBytes(protowire.AppendTag(stream, 2, protowire.BytesType), entry)
	}
	body := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), stream)
	cli := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := cli.Post(y.URL, "", bytes.NewReader(s2.EncodeSnappy(nil, body)))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusNoContent {
		t.Fatal(res.Status, err)
	}
}

func TestATallyFindsEachPlantedError(t *testing.T) {
	damaged := entries("a", 3)
	damaged[0].Line = damaged[0].Line[:len(damaged[0].Line)-3]
	for name, c := range map[string]struct {
		sent []Entry
		want [6]int64 // lost, repeated, damaged, out of order, unexpected, foreign
	}{
		"all is well":           {entries("a", 1, 2, 3, 4, 5), [6]int64{}},
		"one is lost":           {entries("a", 1, 2, 4, 5), [6]int64{1}},
		"the end is lost":       {entries("a", 1, 2), [6]int64{3}},
		"all is lost":           {nil, [6]int64{5}},
		"one comes twice":       {entries("a", 1, 2, 2, 3, 4, 5), [6]int64{0, 1}},
		"one comes again later": {entries("a", 1, 2, 3, 4, 5, 1), [6]int64{0, 1}},
		"one is late":           {entries("a", 1, 3, 2, 4, 5), [6]int64{0, 0, 0, 1}},
		"one was never written": {entries("a", 1, 2, 3, 4, 5, 6), [6]int64{0, 0, 0, 0, 1}},
		"an unknown source":     {append(entries("a", 1, 2, 3, 4, 5), entries("b", 1, 2)...), [6]int64{0, 0, 0, 0, 2}},
		"one is cut":            {append(entries("a", 1, 2, 4, 5), damaged...), [6]int64{1, 0, 1}},
		"one is a stranger":     {append(entries("a", 1, 2, 3, 4, 5), Entry{Line: "hello"}), [6]int64{0, 0, 0, 0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			y, l := NewTally(t), NewLedger()
			l.Expect("a", 4, 5)
			l.Expect("a", 1, 3)
			push(t, y, c.sent)
			r := y.Check(l)
			if got := [6]int64{r.Lost.N, r.Repeated.N, r.Damaged.N, r.OutOfOrder.N, r.Unexpected.N, r.Foreign.N}; got != c.want {
				t.Errorf("%v, want %v\n%s", got, c.want, r)
			}
		})
	}
}

// A million lines of one source are one range, whatever the order they came in.
func TestATallyKeepsRangesOnly(t *testing.T) {
	var a arrivals
	seen := map[int64]bool{}
	random := rand.New(rand.NewPCG(1, 1))
	for range 5000 {
		seq := 1 + random.Int64N(1000)
		if fresh, _ := a.add(seq); fresh == seen[seq] {
			t.Fatalf("%d: new %v, seen before %v", seq, fresh, seen[seq])
		}
		seen[seq] = true
	}
	for seq := int64(1); seq <= 1000; seq++ {
		a.add(seq)
	}
	if len(a.spans) != 1 || a.spans[0] != (span{1, 1000}) || a.n != 1000 {
		t.Errorf("%d lines, ranges %v", a.n, a.spans)
	}
	y := &Tally{sources: map[string]*arrivals{}}
	y.add(line.Append(nil, line.Plain, "a", 1, 0, time.Unix(0, 0)))
	if y.Of("a") != 1 || y.Of("b") != 0 {
		t.Errorf("%d lines of a, %d of b", y.Of("a"), y.Of("b"))
	}
}
