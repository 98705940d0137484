//go:build race

package sim

// raced: the race detector runs, and has the scheduler choose at random.
const raced = true
