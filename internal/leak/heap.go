package leak

import (
	"fmt"
	"runtime/debug"
	"runtime/metrics"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Collector makes sure that the live heap, which only a collection measures, is not
// older than it may be.
type Collector interface {
	// Freshen collects when no collection has been since the last call, and more than
	// enough has been allocated since to hide a leak. A busy agent collects by itself. One
	// that has become quiet gives back to the system what it needed before.
	Freshen(enough units.Size)
}

// runtimeCollector is that of the process.
type runtimeCollector struct {
	cycles  uint64
	free    int64 // bytes that nobody uses and could not be given back
	samples [4]metrics.Sample
}

// NewCollector returns the process's, for one caller at a time.
func NewCollector() Collector { return new(runtimeCollector) }

// keptFree is how much unused memory, in bytes, is not worth a collection.
const keptFree = 1 << 20

// Freshen implements Collector. An idle agent that leaks collects once an interval; one
// that does not leak has next to nothing to collect.
func (r *runtimeCollector) Freshen(enough units.Size) {
	cycles, unseen, free := r.read()
	if cycles == r.cycles && (unseen >= int64(enough) || free > r.free+keptFree) {
		debug.FreeOSMemory() // collects, too
		cycles, _, r.free = r.read()
	}
	r.cycles = cycles
}

// read returns the number of collections, how many bytes came since the last, and how many
// are the process's that nobody uses.
func (r *runtimeCollector) read() (cycles uint64, unseen, free int64) {
	for i, name := range []string{"/gc/cycles/total:gc-cycles", "/memory/classes/heap/objects:bytes", "/gc/heap/live:bytes", "/memory/classes/heap/free:bytes"} {
		r.samples[i].Name = name
	}
	metrics.Read(r.samples[:])
	for i := range r.samples {
		if r.samples[i].Value.Kind() != metrics.KindUint64 {
			return 0, 0, 0
		}
	}
	objects, live := r.samples[1].Value.Uint64(), r.samples[2].Value.Uint64()
	return r.samples[0].Value.Uint64(), int64(objects) - int64(live), int64(r.samples[3].Value.Uint64())
}

// Site is a function and what it allocated that is still in use.
type Site struct {
	Function, Component string
	Bytes               int64
}

// sites remembers what functions had in use some minutes ago, so that an alarm of the
// heap can name the one that grew.
type sites struct {
	before, newer, now map[string]Site
	turned             float64
}

// turn is after how many minutes what is remembered is replaced.
const turn = 3

func (s *sites) note(at float64, list []Site) {
	if len(list) == 0 {
		return
	}
	now := make(map[string]Site, len(list))
	for _, site := range list {
		now[site.Function] = site
	}
	s.now = now
	if s.newer == nil || at-s.turned >= turn {
		s.before, s.newer, s.turned = s.newer, now, at
	}
}

// grown returns the site that has grown most.
func (s *sites) grown() (most Site) {
	before := s.before
	if before == nil {
		before = s.newer
	}
	best := int64(0)
	for name, site := range s.now {
		if grew := site.Bytes - before[name].Bytes; grew > best || grew == best && grew > 0 && name < most.Function {
			best, most = grew, site
		}
	}
	return most
}

func (s Site) String() string {
	return fmt.Sprintf("%s, which has %s in use", s.Function, units.HumanBytes(float64(s.Bytes)))
}
