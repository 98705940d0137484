package leaks

import (
	"fmt"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// exact returns what is not as the formula says in a census, by owner: goroutines, what is
// held, and what was never closed. Those of the server come and go with who asks.
func exact(s ledger.Snapshot) map[string]error {
	wrong := map[string]error{}
	for _, o := range s.Goroutines.Owners {
		if o.Count != o.Expected && o.Component != "server" {
			wrong[o.Owner] = fmt.Errorf("%d goroutines, expected %d: %s", o.Count, o.Expected, o.Stack)
		}
	}
	for _, h := range s.Held {
		if h.Unclosed > 0 {
			wrong[h.Owner] = fmt.Errorf("%d of kind %s were never closed", h.Unclosed, h.Kind)
		}
		if h.Expected >= 0 && h.Count > h.Expected && h.Component != "server" {
			wrong[h.Owner] = fmt.Errorf("%d of kind %s, expected %d", h.Count, h.Kind, h.Expected)
		}
	}
	return wrong
}
