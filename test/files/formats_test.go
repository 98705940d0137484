package files

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/test/harness"
)

// Files of many kinds, written in pieces while the agent is killed in between: what Loki has
// are entries with the times that their lines name, and the labels that their paths do.
func TestFilesOfManyKindsBecomeEntries(t *testing.T) {
	loki, dir, start := harness.Loki(t), t.TempDir(), time.Now()
	run := fmt.Sprint("formats-", start.UnixNano())
	pods := filepath.Join(dir, "pods", "shop_web-0_6f1c2a1e-0d6b-4a0c-9f5e-2b6d3f0a7c11", "nginx")
	if err := os.MkdirAll(pods, 0o755); err != nil {
		t.Fatal(err)
	}
	at := start.Add(-time.Minute).Truncate(time.Millisecond).UTC()
	second := func(n int) time.Time { return at.Add(time.Duration(n) * time.Second) }
	utf16le := func(text string) string {
		var b strings.Builder
		for _, u := range utf16.Encode([]rune(text)) {
			b.WriteByte(byte(u))
			b.WriteByte(byte(u >> 8))
		}
		return b.String()
	}
	const trace = "java.lang.IllegalStateException: no\n\tat shop.Cart.add(Cart.java:7)\n\tat shop.Main.main(Main.java:3)"
	cri := func(n int, out, flag, text string) string {
		return fmt.Sprintf("%s %s %s %s\n", second(n).Format(time.RFC3339Nano), out, flag, text)
	}
	stamp := func(n int) string { return second(n).Format("2006-01-02 15:04:05.000") }
	// Each file's text, and what is to come of it: time, output, line.
	type entry struct {
		At     time.Time
		Stream string
		Line   string
	}
	files := map[string]struct {
		text string
		want []entry
	}{
		filepath.Join(pods, "0.log"): {
			cri(0, "stdout", "F", "GET /") + cri(1, "stderr", "P", "half ") + cri(2, "stdout", "F", "GET /a") + cri(3, "stderr", "F", "and half"),
			[]entry{{second(0), "stdout", "GET /"}, {second(1), "stderr", "half and half"}, {second(2), "stdout", "GET /a"}},
		},
		filepath.Join(dir, "java", "app.log"): {
			stamp(0) + " INFO begins\n" + stamp(1) + " ERROR " + trace + "\n" + stamp(2) + " INFO goes on\n" + stamp(3) + " INFO ends\n",
			[]entry{{second(0), "", stamp(0) + " INFO begins"}, {second(1), "", stamp(1) + " ERROR " + trace}, {second(2), "", stamp(2) + " INFO goes on"}, {second(3), "", stamp(3) + " INFO ends"}},
		},
		filepath.Join(dir, "windows", "app.txt"): {
			"\xff\xfe" + utf16le(stamp(0)+" größer\r\n"+stamp(1)+" 日本\r\n"),
			[]entry{{second(0), "", stamp(0) + " größer"}, {second(1), "", stamp(1) + " 日本"}},
		},
		filepath.Join(dir, "syslog"): {
			fmt.Sprintf("%s web sshd[7]: one\n<34>1 %s web app - - - two\n", second(0).Format(time.RFC3339Nano), second(1).Format(time.RFC3339Nano)),
			[]entry{
				{second(0), "", second(0).Format(time.RFC3339Nano) + " web sshd[7]: one"},
				{second(1), "", "<34>1 " + second(1).Format(time.RFC3339Nano) + " web app - - - two"},
			},
		},
	}
	agent := harness.StartAgent(t, fmt.Sprintf(`
container_monitor: {enabled: false}
file_monitor:
  include: [%[1]q, %[2]q, %[3]q, %[4]q]
  rules:
    - {include: [%[1]q], format: cri}
    - {include: [%[2]q], timestamp: {format: "%%Y-%%m-%%d %%H:%%M:%%S.%%f", zone: UTC}, multiline: {start: '^\d{4}-', flush: 8s}}
    - {include: [%[3]q], timestamp: {format: "%%Y-%%m-%%d %%H:%%M:%%S.%%f", zone: UTC}}
    - {include: [%[4]q], format: syslog}
sinks:
  loki: {url: %[5]s, labels: {run: %[6]s}}
`, dir+"/pods/**/*.log", dir+"/java/*", dir+"/windows/*", dir+"/syslog", loki.URL, run))
	// In pieces, whatever they tear apart; the agent is killed in the middle.
	const pieces = 8
	for n := range pieces {
		for path, f := range files {
			appendPiece(t, path, f.text[len(f.text)*n/pieces:len(f.text)*(n+1)/pieces])
		}
		if n == pieces/2 {
			agent.Kill(t)
			agent.Start(t)
		}
	}
	total := 0
	for _, f := range files {
		total += len(f.want)
	}
	got := map[string][]entry{}
	harness.Eventually(t, time.Minute, "all entries", func() (bool, string) {
		streams, err := loki.Query(t.Context(), fmt.Sprintf("{run=%q}", run), start.Add(-time.Hour), time.Now())
		clear(got)
		n := 0
		for _, s := range streams {
			for _, e := range s.Entries {
				path := s.Labels["filename"] + e.Metadata["filename"]
				got[path] = append(got[path], entry{time.Unix(0, e.Time).UTC(), s.Labels["stream"], e.Line})
				n++
			}
			if path := s.Labels["job"]; path == "pods" && (s.Labels["namespace"] != "shop" || s.Labels["pod"] != "web-0" || s.Labels["container"] != "nginx") {
				t.Errorf("the labels of a pod are %v", s.Labels)
			}
		}
		return n >= total, fmt.Sprintf("%d of %d, error %v", n, total, err)
	})
	for path, f := range files {
		slices.SortFunc(got[path], func(a, b entry) int { return a.At.Compare(b.At) })
		if diff := cmp.Diff(f.want, got[path]); diff != "" {
			t.Errorf("%s: - wanted, + in Loki:\n%s", filepath.Base(path), diff)
		}
	}
	m := agent.Metrics(t)
	if n := m.Sum("file_lines_untimed_total") + m.Sum("file_lines_foreign_total") + m.Sum("file_bytes_invalid_total"); n != 0 {
		t.Errorf("%v lines or bytes were not understood", n)
	}
}

func appendPiece(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
