//go:build !race

package harness

// raceEnabled tells that the test binary is built with the race detector; the agent then is too.
const raceEnabled = false
