package file

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/source"
	"github.com/logcapturer/log_capturer/internal/tail"
)

// Nobody takes what is read while a log is rotated again and again, and its old generations
// are removed: they are held up to the bound, and what is let go is counted to the line.
func TestWhatIsHeldOfALogFileIsCappedAndWhatIsLetGoIsCounted(t *testing.T) {
	const rounds, each, most = 20, 100, 5 * 100 * 20
	h := newHost(t)
	h.opener.Keeper = &tail.Keeper{MaxBytes: most}
	var r *Reader
	line := func(n int) string { return fmt.Sprintf("line %04d of a file", n) } // 20 bytes with its end
	written := 0
	for round := range rounds {
		for range each {
			h.write("a.log", line(written)+"\n")
			written++
		}
		if round == 0 {
			r = h.open("a.log", position.Cursor{})
		}
		if _, err := r.Look(); err != nil {
			t.Fatal(err)
		}
		if round == rounds-1 {
			break
		}
		h.rename("a.log", "a.log.1")
		h.must(os.Remove(h.path("a.log.1")))
		h.opener.Keeper.Enforce()
		if _, bytes := r.Held(); bytes > most {
			t.Fatalf("%d bytes are held, want %d at most", bytes, most)
		}
	}
	var got []string
	for {
		b, err := r.Next(t.Context())
		if errors.Is(err, source.ErrIdle) {
			break
		}
		h.must(err)
		for i := range b.Entries {
			got = append(got, string(b.Line(i)))
		}
		b.Done(0)
	}
	lost := 0
	for _, l := range r.TakeLosses() {
		if l.Reason != source.LostHeld {
			t.Errorf("%d lines are lost as %s", l.Lines, l.Reason)
		}
		lost += int(l.Lines)
	}
	if lost == 0 || len(got)+lost != written {
		t.Errorf("%d lines came and %d are counted as lost, of %d", len(got), lost, written)
	}
	for i, text := range got {
		if want := line(lost + i); text != want {
			t.Fatalf("entry %d is %q, want %q", i, text, want)
		}
	}
	if files, _ := r.Held(); files != 0 {
		t.Errorf("%d generations are still held", files)
	}
}
