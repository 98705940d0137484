// Package sim is a seeded simulator of the agent's core. The parts are the real ones, put
// together as package app does: the pool and its readers of the Engine API with the real
// client, the dispatcher, two required sinks' lanes, queues, spools, dead letters and
// positions. What is around them is simulated, in a testing/synctest bubble, whose hours
// take milliseconds: an engine (dockertest), a disk, the other ends of the sinks, and a
// script that is drawn from a seed and breaks all of these, kills the agent, cuts the
// power, and starts it again on what the disk has kept.
//
// A ledger knows every line that the engine has. It promises, of each run, that every line
// arrives at both sinks or is among their dead letters; that it does so once, unless
// something excuses a repeat (see watched.Open, agent.excuse and door.Send: what was in
// flight at a kill, an answer that was lost, what is read again after a disk failed), and
// then with the same timestamp and labels; that the lines of a stream first arrive in
// order; that positions are never behind what was saved for certain; that no spool counts
// lines as lost; that the books balance at quiet moments, and that no goroutine is left.
//
// The same seed is the same run: what arrives, when, and every byte on the disk in the end.
// For that nothing is left to chance (dice), requests take a time of their own so that
// sources do not act at the same instant, there is one processor, and garbage is collected
// while all goroutines stand still. What happens at the same instant has no order in the
// trace: timers that are due together fire in any. A goroutine that the machine's scheduler
// holds up for over 10 ms of real time may be preempted, and a run then differ from the
// next; it has not been seen.
//
// What it cannot do: the clock goes forward only, as a bubble's does (by hours at a time,
// when nobody has anything to do); a clock that is set back is tested in
// source/dockerapi. A slow disk is slow in the fsyncs of segments, dead letters and
// positions: a call that a lock is held for may take no time in a bubble. Log files are
// not read: their readers use the machine's files. The disk does not fail to read, and
// lies in nothing but a failed fsync: what that costs is told in docs/guarantees.md.
package sim

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
