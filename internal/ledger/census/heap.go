package census

import (
	"cmp"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/logcapturer/log_capturer/internal/ledger"
)

// mostSites is how many functions are told.
const mostSites = 10

// sites remembers whose the stacks of the heap profile are.
type sites struct {
	mu      sync.Mutex
	records []runtime.MemProfileRecord
	known   map[[32]uintptr]string
}

// most returns the functions of ours that have the most memory in use: for each stack, its
// innermost function of this module.
func (s *sites) most(component func(string) string) []ledger.HeapSite {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, ok := runtime.MemProfile(s.records[:cap(s.records)], false)
	for !ok {
		s.records = make([]runtime.MemProfileRecord, n+n/4+16)
		n, ok = runtime.MemProfile(s.records, false)
	}
	s.records = s.records[:n]
	bytes := map[string]int64{}
	for i := range s.records {
		r := &s.records[i]
		bytes[s.function(r)] += scaled(r.InUseBytes(), r.InUseObjects())
	}
	out := make([]ledger.HeapSite, 0, len(bytes))
	for function, n := range bytes {
		out = append(out, ledger.HeapSite{Function: short(function), Component: component(function), Bytes: n})
	}
	slices.SortFunc(out, func(a, b ledger.HeapSite) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Function, b.Function))
	})
	return out[:min(len(out), mostSites)]
}

func (s *sites) function(r *runtime.MemProfileRecord) string {
	if name, ok := s.known[r.Stack0]; ok {
		return name
	}
	name, frames := "", runtime.CallersFrames(r.Stack())
	for {
		f, more := frames.Next()
		if name == "" {
			name = f.Function
		}
		if strings.HasPrefix(f.Function, module) {
			name = f.Function
			break
		}
		if !more {
			break
		}
	}
	if s.known == nil {
		s.known = map[[32]uintptr]string{}
	}
	s.known[r.Stack0] = name
	return name
}

// scaled is what a sampled number of bytes stands for: the runtime takes one sample every
// MemProfileRate bytes, as a Poisson process.
func scaled(bytes, objects int64) int64 {
	if bytes <= 0 || objects <= 0 || runtime.MemProfileRate <= 1 {
		return max(bytes, 0)
	}
	average := float64(bytes) / float64(objects)
	return int64(float64(bytes) / (1 - math.Exp(-average/float64(runtime.MemProfileRate))))
}
