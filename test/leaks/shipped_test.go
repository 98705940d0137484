package leaks

import (
	"bytes"
	"os"
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

// traces are what an agent has that can be made to leak: the variable, the package task's
// function, and names of the leaks.
var traces = []string{"LOG_CAPTURER_PLANT", "task.Plant", "unclosed_stream", "ForgetCancel", "ForgetBody", "planted.go"}

func TestWhatIsShippedCannotBeMadeToLeak(t *testing.T) {
	shipped, err := os.ReadFile(harness.ShippedAgent(t))
	if err != nil {
		t.Fatal(err)
	}
	planted, err := os.ReadFile(harness.PlantedAgent(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, trace := range traces {
		if bytes.Contains(shipped, []byte(trace)) {
			t.Errorf("the shipped agent has %q in it", trace)
		}
		if !bytes.Contains(planted, []byte(trace)) {
			t.Errorf("the agent with planted leaks has no %q: this test would not see it", trace)
		}
	}
}
