package discover

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
)

func TestAnEngineThatFallsSilentIsNotHealthy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStatus("container_monitor", "not yet")
		s.set(true, "")
		s.answered(13 * time.Second)
		heard := time.Now()
		task.Sleep(t.Context(), 13*time.Second)
		if h := s.get(); !h.OK {
			t.Errorf("too soon: %+v", h)
		}
		task.Sleep(t.Context(), time.Second)
		if h := s.get(); h.OK || !strings.Contains(h.Reason, "14s") || !h.Since.Equal(heard) {
			t.Errorf("it was silent for 14s: %+v", h)
		}
		s.answered(13 * time.Second)
		if h := s.get(); !h.OK || h.Reason != "" {
			t.Errorf("it answered: %+v", h)
		}
	})
}
