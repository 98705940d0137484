package files

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

// Whatever becomes of the file with the positions, nothing is lost, and what is repeated is
// what was read since the generation that can still be used.
func TestDamagedPositionsRepeatNoMoreThanOneInterval(t *testing.T) {
	const each = 1000 // lines of an interval
	harness.Agent(t)
	for name, damage := range map[string]func(now, before []byte) []byte{
		"empty": func(_, _ []byte) []byte { return nil },
		"NULs":  func(now, _ []byte) []byte { return make([]byte, len(now)) },
		"half":  func(now, _ []byte) []byte { return now[:len(now)/2] },
		"old":   func(_, before []byte) []byte { return before },
		"of a later version": func(now, _ []byte) []byte {
			_, body, _ := bytes.Cut(now, []byte("\n"))
			return fmt.Appendf(nil, "log_capturer positions v99 crc32c=%08x\n%s", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), body)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, harness.StartAgent)
			h.write("app.log", each)
			h.arrived()
			h.saved()
			before, err := os.ReadFile(h.positions())
			h.must(err)
			h.write("app.log", each)
			h.arrived()
			h.agent.Stop(t)
			now, err := os.ReadFile(h.positions())
			h.must(err)
			h.must(os.WriteFile(h.positions(), damage(now, before), 0o600))
			h.write("app.log", each)
			h.agent.Start(t)
			if repeated := h.arrived(); repeated > each {
				t.Errorf("%d lines were repeated, want %d at most", repeated, each)
			}
		})
	}
}
