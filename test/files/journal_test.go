package files

import (
	"fmt"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
)

// A journal is written to, and rotated, while the agent is killed again and again: in Loki
// every entry is there once. What the agent had sent in the moment before, and sends again,
// has the time that it had, by which Loki knows it.
func TestTheJournalComesOnceThoughTheAgentIsKilled(t *testing.T) {
	const entries, kills = 6000, 4
	j, loki, start := harness.NewJournal(t), harness.Loki(t), time.Now()
	run := fmt.Sprint("journal-", start.UnixNano())
	agent := harness.StartAgent(t, fmt.Sprintf(`
container_monitor: {enabled: false}
file_monitor: {enabled: false}
journal_monitor: {enabled: true, directory: %q, since: start, identifiers: [counted], labels: [unit, level]}
sinks:
  loki: {url: %s, labels: {run: %s}}
`, j.Dir(), loki.URL, run))
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for n := range entries {
		j.Send(t, "SYSLOG_IDENTIFIER", "counted", "PRIORITY", fmt.Sprint(n%3+4), "MESSAGE", fmt.Sprintf("seq=%d", n))
		switch n % (entries / kills) {
		case entries / kills / 4:
			j.Rotate(t)
		case entries / kills / 2: // when Loki has just taken some, whose position is not saved yet, mostly
			acked := func() float64 { return agent.Metrics(t).Sum("lines_acked_total") }
			before := acked()
			harness.Eventually(t, 20*time.Second, "entries in Loki", func() (bool, string) { return acked() > before, "none" })
			agent.Kill(t)
			agent.Start(t)
		}
		<-pace.C
	}
	var times map[int][]int64
	harness.Eventually(t, time.Minute, "all entries", func() (bool, string) {
		streams, err := loki.Query(t.Context(), fmt.Sprintf(`{run=%q,job="systemd-journal"}`, run), start.Add(-time.Minute), time.Now().Add(time.Minute))
		times = map[int][]int64{}
		for _, s := range streams {
			for _, e := range s.Entries {
				var seq int
				if _, err := fmt.Sscanf(e.Line, "seq=%d", &seq); err != nil {
					t.Fatalf("%q came", e.Line)
				}
				times[seq] = append(times[seq], e.Time)
			}
		}
		return len(times) >= entries, fmt.Sprintf("%d of %d, error %v", len(times), entries, err)
	})
	repeated := 0
	for n := range entries {
		repeated += len(times[n]) - 1
		if n > 0 && times[n][0] <= times[n-1][0] {
			t.Fatalf("entry %d has a time that is not behind that of the one before it", n)
		}
	}
	if repeated != 0 || len(times) != entries {
		t.Errorf("%d entries of %d, %d times one more than once", len(times), entries, repeated)
	}
	if n := agent.Metrics(t).Sum("lines_upstream_lost_total"); n != 0 {
		t.Errorf("the agent tells of %v losses", n)
	}
	t.Logf("%d entries, %d kills: %d lost, %d repeated", entries, kills, entries-len(times), repeated)
}
