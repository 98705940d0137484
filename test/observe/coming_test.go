package observe

import "testing"

// coming are metrics that the dashboards and rules use and that the agent does not have yet.
var coming = map[string]bool{
	"log_capturer_leak_alarms_total":      true,
	"log_capturer_leak_growth_per_minute": true,
	"log_capturer_health_status":          true,
}

func TestWhatHasComeIsNotComing(t *testing.T) {
	known := documented(t)
	for name := range coming {
		if known[name] {
			t.Errorf("%s is in docs/metrics.md: take it out of this table", name)
		}
	}
}

// comingCommands are commands that the runbooks name and that the agent does not have yet.
var comingCommands = map[string]bool{"health": true, "diagnose": true}
