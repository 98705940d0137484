//go:build !race

package harness

// RaceEnabled tells that the test binary is built with the race detector; the agent then is too.
const RaceEnabled = false
