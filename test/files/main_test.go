// Package files does to log files what happens to them, with the agent as a process of its
// own, and counts each line.
//
// The real logrotate rotates a log under a program that writes 20,000 lines a second, in
// every mode that is in use. What must have arrived follows from the files: for a log that
// is renamed, all that was written; for one that is copied and cut, what is in a copy or in
// the log afterwards. The rest of the latter fell into the time between a copy's end and
// its cut, and is there only if the agent had read it before.
package files

import (
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
