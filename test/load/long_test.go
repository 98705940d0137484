//go:build load

package load

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var (
	containers = flag.Int("containers", 0, "number of containers; 0 = 300")
	during     = flag.Duration("for", 0, "how long to measure; 0 = 5m")
	report     = flag.String("report", "", "append the tables to this `FILE`, as Markdown")
	outputMiB  = flag.Int64("mib", 200, "container output of the cost comparison, in MiB")
	bigMiB     = flag.Int64("big", 1024, "size of the large log that is polled, in MiB")
)

func TestLoad(t *testing.T) {
	publish(t, "Many containers", manyContainers(t, or(*containers, 300), or(*during, 5*time.Minute), "1m"))
}

func TestCostOfFileAndStream(t *testing.T) {
	publish(t, "What reading costs, beside writing", compareReads(t, *outputMiB<<20))
}

func TestCostOfAPoll(t *testing.T) {
	publish(t, "What a poll costs dockerd", comparePolls(t, *bigMiB<<20))
}

func or[T int | time.Duration](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// publish shows a table, and adds it to the report.
func publish(t *testing.T, title, markdown string) {
	t.Helper()
	t.Log("\n" + markdown)
	if *report == "" {
		return
	}
	f, err := os.OpenFile(*report, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	verdict := ""
	if t.Failed() {
		verdict = "\nThis run FAILED its limits.\n"
	}
	if _, err := fmt.Fprintf(f, "## %s\n\n%s%s\n", title, strings.TrimLeft(markdown, "\n"), verdict); err != nil {
		t.Error(err)
	}
}
