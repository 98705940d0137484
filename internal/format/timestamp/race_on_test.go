//go:build race

package timestamp

// raceDetector tells whether these tests run with it.
const raceDetector = true
