package pool

import (
	"math"
	"time"
)

// slots decides which containers are followed when there are more than streams.max: the
// busiest. The others are polled. It is pure bookkeeping: the pool calls it under its
// lock, and starts and ends the streams.
//
// A slot that is free goes to whoever asks. When there is none, a container that was
// found to talk gets that of the one that has been silent the longest, or else that of
// the one with the lowest rate if its own is at least twice as high; among equals, that of
// the one with the lowest ID. So that slots do
// not flap, a container keeps its slot for two polls after it last spoke, or after it
// got it from a quieter one.
type slots struct {
	max     int
	keep    time.Duration
	holders map[*job]*holder
	// Evictions by reason.
	idle, volume int64
}

// holder is who has a slot since some time; heir is who gets it when the stream, which
// is being ended for it, has ended.
type holder struct {
	since time.Time
	heir  *job
}

func newSlots(max int, poll time.Duration) slots {
	return slots{max: max, keep: 2 * poll, holders: map[*job]*holder{}}
}

// surplus returns how many hold a slot beyond the maximum.
func (s *slots) surplus() int { return len(s.holders) - s.max }

func (s *slots) has(j *job) bool {
	_, ok := s.holders[j]
	return ok
}

// ask gives j a slot if one is free, and tells whether it has one now. If not, victim
// is the holder whose slot j is to have instead, nil when they are all busier, or one is
// promised to it.
func (s *slots) ask(j *job, now time.Time) (ok bool, victim *job) {
	if s.has(j) {
		return true, nil
	}
	if len(s.holders) < s.max {
		s.holders[j] = &holder{since: now}
		return true, nil
	}
	rate, last := j.volume.at(now)
	if last.IsZero() || now.Sub(last) >= s.keep {
		return false, nil // it says nothing
	}
	var silent, slow *job
	var silentSince time.Time
	least := rate / 2
	for h, has := range s.holders {
		if has.heir == j {
			return false, nil
		}
		if has.heir != nil {
			continue
		}
		hRate, hLast := h.volume.at(now)
		if now.Sub(hLast) >= s.keep && (silent == nil || hLast.Before(silentSince) || hLast.Equal(silentSince) && h.id < silent.id) {
			silent, silentSince = h, hLast
		}
		if now.Sub(has.since) >= s.keep && (hRate < least || slow != nil && hRate == least && h.id < slow.id) {
			slow, least = h, hRate
		}
	}
	switch {
	case silent != nil:
		s.idle++
		victim = silent
	case slow != nil:
		s.volume++
		victim = slow
	default:
		return false, nil
	}
	s.holders[victim].heir = j
	return false, victim
}

// giveBack takes j's slot back and returns who it was promised to, nil if nobody.
func (s *slots) giveBack(j *job) (heir *job) {
	if h := s.holders[j]; h != nil {
		heir = h.heir
	}
	delete(s.holders, j)
	return heir
}

// volume is the recent volume of a log: bytes per second, halved every half-life.
type volume struct {
	rate float64
	last time.Time // when something was read last
}

// memory is the time constant of a rate that decays.
const memory = 30 * time.Second

func (v *volume) add(bytes int, now time.Time) {
	rate, _ := v.at(now)
	v.rate, v.last = rate+float64(bytes)/memory.Seconds(), now
}

// at returns the rate, in bytes per second, and when something was read last.
func (v *volume) at(now time.Time) (rate float64, last time.Time) {
	if v.last.IsZero() {
		return 0, v.last
	}
	return v.rate * math.Exp(-now.Sub(v.last).Seconds()/memory.Seconds()), v.last
}
