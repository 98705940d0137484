//go:build plantedleaks

package dispatch

import (
	"context"

	"github.com/logcapturer/log_capturer/internal/task"
)

// plant has the lane leak, if that was asked for, until it is switched off.
func (l *Lane) plant() {
	task.Plant(l.scope, l.leave, "blocked_send", func() {
		l.scope.Go("send", func(context.Context) { nobodyReceives() })
	})
	task.Plant(l.scope, l.leave, "unclosed_body", func() {
		if s, ok := l.Sink().(interface{ ForgetBody(ctx context.Context) }); ok {
			l.scope.Go("send", s.ForgetBody)
		}
	})
}

func nobodyReceives() { make(chan struct{}) <- struct{}{} }
