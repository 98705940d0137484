package harness

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestADescriptorThatIsOpenedIsCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "open")
	count := func() int {
		all, err := FDs(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		return len(slices.DeleteFunc(all, func(s string) bool { return s != path }))
	}
	if n := count(); n != 0 {
		t.Fatalf("%d before it is opened", n)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 1 {
		t.Errorf("%d while it is open", n)
	}
	f.Close()
	if n := count(); n != 0 {
		t.Errorf("%d after it was closed", n)
	}
}

func TestTimeAndMemoryOfThisProcessAreRead(t *testing.T) {
	before, err := CPUSeconds(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held := make([]byte, 64<<20)
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		for i := 0; i < len(held); i += 4096 {
			held[i]++
		}
	}
	after, err := CPUSeconds(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if spent := after - before; spent < 0.02 || spent > 5 {
		t.Errorf("200 ms of work took %.2f s of CPU", spent)
	}
	now, peak, err := RSS(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if now < int64(len(held)) || peak < now {
		t.Errorf("with %d bytes held, %d are resident, %d at the peak", len(held), now, peak)
	}
	held[0]++
}

func TestAProcessThatEndedHasNoUsage(t *testing.T) {
	const none = 1<<22 + 1 // larger than any process id
	if _, err := FDs(none); err == nil {
		t.Error("descriptors of no process")
	}
	if _, err := CPUSeconds(none); err == nil {
		t.Error("time of no process")
	}
	if _, _, err := RSS(none); err == nil {
		t.Error("memory of no process")
	}
}
