package app

import "github.com/logcapturer/log_capturer/internal/source"

// containers returns how each captured container is read: /api/v1/containers.
func (a *agent) containers() []source.Status {
	var all []source.Status
	for _, statuses := range a.statuses {
		all = append(all, statuses()...)
	}
	return all
}
