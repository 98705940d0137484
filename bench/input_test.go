package bench

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func TestTheInputIsWhatTheFiguresNeed(t *testing.T) {
	plain := Lines("bench", 1<<20)
	if !bytes.Equal(plain, Lines("bench", 1<<20)) {
		t.Error("two calls differ")
	}
	n := bytes.Count(plain, []byte("\n"))
	if mean := len(plain) / n; mean < 150 || mean > 300 {
		t.Errorf("the mean line has %d bytes, want about 210", mean)
	}
	var want [][]byte
	for l := range bytes.Lines(plain) {
		want = append(want, l)
	}
	i := 0
	for l := range bytes.Lines(JSONFile("bench", 1<<20)) {
		var rec struct {
			Log, Stream string
			Time        time.Time
		}
		if err := json.Unmarshal(l, &rec); err != nil || rec.Stream != "stdout" || rec.Time.IsZero() {
			t.Fatalf("%q: %v", l, err)
		}
		if i < len(want) && rec.Log != string(want[i]) {
			t.Fatalf("record %d is %q, want %q", i, rec.Log, want[i])
		}
		i++
	}
}
