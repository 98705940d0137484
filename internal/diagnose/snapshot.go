package diagnose

import "github.com/logcapturer/log_capturer/internal/ledger"

// What an agent answers.
type (
	// Snapshot is one census.
	Snapshot = ledger.Snapshot
	// ComponentState tells whether a component runs.
	ComponentState = ledger.ComponentState
)
