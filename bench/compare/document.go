package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// chart is the name of the chart, which is beside the report.
const chart = "benchmark.svg"

// What stands around what a run writes, in a page that says more.
const markBegin, markEnd = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"

// section is what a run writes: what it was taken on, how, the chart and the table.
func section(table string, told []string, caption, args string) string {
	command := "make bench"
	if args != "" {
		command += " ARGS='" + strings.TrimSpace(args) + "'"
	}
	return fmt.Sprintf("Taken %s, by `%s`. %s\n\n![The agents beside each other](%s)\n\n%s", caption, command, strings.Join(told, " "), chart, table)
}

// within returns the page with the section between its marks, or the section alone.
func within(page []byte, section string) []byte {
	before, rest, ok := bytes.Cut(page, []byte(markBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(markEnd))
	if !ok || !ok2 {
		return []byte("# The benchmark\n\n" + section)
	}
	return fmt.Appendf(nil, "%s%s\n\n%s\n%s%s", before, markBegin, section, markEnd, after)
}

// machine says what this one is.
func machine() string {
	model := runtime.GOARCH
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for l := range strings.Lines(string(b)) {
			if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel := "unknown"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel = unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s, %d cores, Linux %s, %s", model, cores(), kernel, runtime.Version())
}
