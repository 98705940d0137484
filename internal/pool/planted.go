//go:build plantedleaks

package pool

import (
	"fmt"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// Orphan puts a job that no target stands behind any more among the pool's: its turn has
// not ended, and never will.
func (p *Pool) Orphan(n int) {
	id := fmt.Sprintf("orphan:%d", n)
	p.mu.Lock()
	defer p.mu.Unlock()
	j := newJob(p, source.Target{Source: &record.Source{ID: id, Name: id}, Mode: source.File})
	p.jobs[id] = j
	j.leave()
}
