package harness

import (
	"encoding/json"
	"fmt"
	"testing"
)

// Nobody starts the agent as a user without rights but for those of the group root, which
// may read the json-files until their directories' modes forbid it. See StartAgentUnder.
var Nobody = []string{"sh", "-c", `set -eu
for last in "$@"; do :; done
dir=$(dirname "$last")
chmod a+x "$dir" "$(dirname "$dir")" "$(dirname "$1")"
chown -R 65534 "$dir"
exec setpriv --reuid 65534 --regid 65534 --groups 0 --bounding-set -all --pdeathsig KILL -- "$@"`, "sh"}

// FewDescriptors starts the agent with that limit of open files. See StartAgentUnder.
func FewDescriptors(limit int) []string {
	return []string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, limit), "sh"}
}

// StartAgentUnder is StartAgent with the agent started by another command, which execs
// what follows it: the process id is the agent's.
func StartAgentUnder(t testing.TB, config string, wrap ...string) *AgentProcess {
	t.Helper()
	return startAgent(t, Agent(t), config, wrap...)
}

// Reading is how the agent says that it reads a container.
type Reading struct {
	Name   string           `json:"name"`
	Mode   string           `json:"mode"`
	Reason string           `json:"reason"`
	Lines  int64            `json:"lines"`
	Lost   map[string]int64 `json:"lost"`
	Error  string           `json:"error"`
}

// Readings asks for it, for every container, by name.
func (a *AgentProcess) Readings(t testing.TB) map[string]Reading {
	t.Helper()
	body, err := a.get("/api/v1/containers")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Containers []Reading `json:"containers"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("GET /api/v1/containers: %v", err)
	}
	out := make(map[string]Reading, len(answer.Containers))
	for _, c := range answer.Containers {
		out[c.Name] = c
	}
	return out
}

// Component returns what /health says of one component; ok is false when there is none.
func (h Health) Component(name string) (status, reason string, ok bool) {
	for _, c := range h.Components {
		if c.Name == name {
			return c.Status, c.Reason, true
		}
	}
	return "", "", false
}
