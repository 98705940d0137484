package pool

import "time"

// pauseAfter returns for how long a file is left alone that had something to read, 0 = it is
// armed at once.
func (j *job) pauseAfter(now time.Time) time.Duration {
	j.gap, j.lastBusy = now.Sub(j.lastBusy), now
	switch {
	case j.p.Watcher == nil:
	case j.gap >= steady: // one read for each of its lines is the least that there can be
		return 0
	case j.p.prompts.Take(now):
		if j.gap >= prompt {
			return 0
		}
		return settle
	}
	if j.gap < steady {
		return beat
	}
	return settle
}
