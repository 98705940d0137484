package harness

import (
	"path/filepath"
	"testing"
)

// PlantedAgent builds the agent that leaks when it is told to: see StartPlantedAgent.
func PlantedAgent(t testing.TB) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "log_capturer")
	if err := goBuild(t.Context(), []string{"CGO_ENABLED=0"}, "-trimpath", "-tags", "plantedleaks", "-o", bin, "./cmd/log_capturer"); err != nil {
		t.Fatal(err)
	}
	return bin
}

// StartPlantedAgent is StartAgent with a binary of PlantedAgent, which has the leak of that
// kind; "" = none.
func StartPlantedAgent(t testing.TB, bin, kind, config string) *AgentProcess {
	t.Helper()
	return startAgent(t, bin, config, "env", "LOG_CAPTURER_PLANT="+kind)
}
