package leak

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/internal/health"
)

const (
	// fullShare of the descriptors' limit is unhealthy.
	fullShare = 0.8
	// calmShare of what is an alarm ends it.
	calmShare = 0.9
	// alsoNamed is how many further alarms a reason names.
	alsoNamed = 2
	// forgotten is after how many minutes a series that is gone is.
	forgotten = 60
	// nobody is the component of what belongs to none.
	nobody = "agent"
)

// Observe takes a census in, and tells what it means. It is what Run does with each.
func (w *Watch) Observe(ctx context.Context, sample Sample) {
	config := w.current()
	at := w.clock.tick(sample.Time, config.Interval.Std())
	w.seen++
	w.sites.note(at, sample.Sites)
	w.grow(at, sample)
	load := 0.0
	for _, s := range sample.Series {
		if s.What != Heap && !strings.HasPrefix(s.What, Descriptors) {
			load += max(0, s.Expected)
		}
	}
	for _, now := range sample.Series {
		s := w.find(key{now.Component, now.Owner, now.What}, config)
		if s == nil {
			continue
		}
		s.now, s.known, s.seen = now, now.Expected >= 0, w.seen
		w.look(s, point{at: at, wall: sample.Time, value: now.Value, expected: max(0, now.Expected), load: load}, config, sample.HeapLimit)
	}
	w.absent(sample, at, load, config)
	w.descriptors(sample, at, config)
	w.conclude(ctx, sample, config)
}

// find returns the memory of a series; nil when there are too many.
func (w *Watch) find(k key, config Config) *series {
	s := w.series[k]
	if s != nil {
		return s
	}
	if len(w.series) >= maxSeries {
		w.mu.Lock()
		w.refused++
		w.mu.Unlock()
		return nil
	}
	s = newSeries(config.Interval.Std())
	w.series[k] = s
	return s
}

func (w *Watch) look(s *series, p point, config Config, limit int64) {
	made := s.add(p)
	if w.judge(s, made, p, config, limit) && s.isHeap() {
		s.alarm.site = w.sites.grown()
	}
}

// absent has none of what is not in the census, and forgets it after an hour.
func (w *Watch) absent(sample Sample, at, load float64, config Config) {
	for k, s := range w.series {
		if s.seen == w.seen {
			continue
		}
		if s.seen+1 == w.seen {
			s.gone = at
		}
		if at-s.gone >= forgotten {
			delete(w.series, k)
			continue
		}
		s.now.Value, s.now.Expected, s.now.Stack = 0, 0, ""
		w.look(s, point{at: at, wall: sample.Time, load: load}, config, sample.HeapLimit)
	}
}

// descriptors looks at their share of the limit; two looks in a row decide.
func (w *Watch) descriptors(sample Sample, at float64, config Config) {
	if sample.DescriptorLimit <= 0 {
		return
	}
	now := float64(sample.Descriptors) / float64(sample.DescriptorLimit)
	used := min(now, w.shareBefore)
	w.shareBefore = now
	switch {
	case w.share == nil && used >= config.DescriptorsShare:
		w.share = &alarm{what: share, since: sample.Time, at: at}
	case w.share != nil && now < calmShare*config.DescriptorsShare:
		w.share = nil
	}
	if w.share == nil {
		return
	}
	w.share.status = health.Degraded
	if used >= fullShare {
		w.share.status = health.Unhealthy
	}
}

func shareReason(sample Sample, since string) string {
	kinds := map[string]float64{}
	for _, s := range sample.Series {
		if kind, ok := strings.CutPrefix(s.What, Descriptors); ok {
			kinds[kind] += s.Value
		}
	}
	names := slices.SortedFunc(maps.Keys(kinds), func(a, b string) int {
		if kinds[a] != kinds[b] {
			return int(kinds[b] - kinds[a])
		}
		return strings.Compare(a, b)
	})
	most := ""
	for _, name := range names[:min(3, len(names))] {
		most += fmt.Sprintf(", %s %s", name, number(kinds[name]))
	}
	if most != "" {
		most = "; most are " + most[len(", "):]
	}
	return fmt.Sprintf("the agent has %d descriptors open, %.0f %% of its limit of %d, since %s%s",
		sample.Descriptors, 100*float64(sample.Descriptors)/float64(sample.DescriptorLimit), sample.DescriptorLimit, since, most)
}

// conclude makes one verdict of all alarms, and tells it.
func (w *Watch) conclude(ctx context.Context, sample Sample, config Config) {
	var alarms []*series
	active := map[string]bool{}
	for _, s := range w.series {
		if s.alarm != nil {
			alarms = append(alarms, s)
			active[s.blamed()] = true
		}
	}
	if w.share != nil {
		active[nobody] = true
	}
	w.count(active)
	before := w.Verdict()
	if len(active) == 0 {
		w.finish(ctx, before, Verdict{Status: health.Healthy}, sample, config)
		return
	}
	slices.SortFunc(alarms, func(a, b *series) int {
		if less(a, b) {
			return -1
		}
		return 1
	})
	v := Verdict{Bundle: before.Bundle}
	var reasons []string
	for i, s := range alarms {
		if i == 0 {
			v = s.verdict(v)
		}
		reasons = append(reasons, s.reason())
	}
	if w.share != nil {
		text := shareReason(sample, clockTime(w.share.since))
		if len(alarms) == 0 || w.share.status == health.Unhealthy && v.Status != health.Unhealthy {
			v = Verdict{Status: w.share.status, What: "descriptors", Component: nobody, Value: float64(sample.Descriptors), Since: w.share.since, Bundle: v.Bundle}
			reasons = slices.Insert(reasons, 0, text)
		} else {
			reasons = slices.Insert(reasons, 1, text)
		}
	}
	v.Reason = reasons[0]
	if also := reasons[1:]; len(also) > 0 {
		v.Reason += "; also: " + strings.Join(also[:min(alsoNamed, len(also))], "; ")
		if more := len(also) - alsoNamed; more > 0 {
			v.Reason += fmt.Sprintf("; and %d more", more)
		}
	}
	w.finish(ctx, before, v, sample, config)
}

// finish writes the bundle of a new episode, logs and posts what changed.
func (w *Watch) finish(ctx context.Context, before, v Verdict, sample Sample, config Config) {
	changed := v.Status != before.Status || v.Owner != before.Owner || v.Component != before.Component
	switch {
	case !changed:
	case v.Status == health.Healthy:
		w.Log.Info("nothing leaks any more: the leak watch is content again", "was", before.Reason)
	default:
		w.Log.Warn("the leak watch has found something", "status", v.Status, "reason", v.Reason)
	}
	if before.Status == health.Healthy && v.Status != health.Healthy && w.Dir != "" && config.Keep > 0 {
		// Health first: writing takes a moment, and may fail.
		w.publish(v)
		v.Bundle = w.dump(v, sample, config.Keep)
	}
	w.publish(v)
	if changed {
		w.hook.change(w.message(v))
	}
	w.hook.try(ctx, w.clock.minutes, config.WebhookURL)
}

func (w *Watch) count(active map[string]bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range active {
		if !w.active[name] {
			w.alarms[name]++
		}
	}
	w.active = active
}

func (s *series) verdict(v Verdict) Verdict {
	v.Status, v.Owner, v.Component, v.What = s.alarm.status, s.now.Owner, s.blamed(), s.now.What
	v.Value, v.Expected = s.now.Value, s.now.Expected
	v.PerMinute, v.Since, v.Stack = s.alarm.perMinute, s.alarm.since, s.now.Stack
	if site := s.alarm.site; s.isHeap() && site.Function != "" {
		v.Owner, v.Stack = site.Function, site.Function
	}
	return v
}

// blamed is the component that an alarm is about: of the heap, whose function's memory grew.
func (s *series) blamed() string {
	return cmp.Or(s.alarm.site.Component, s.now.Component, nobody)
}
