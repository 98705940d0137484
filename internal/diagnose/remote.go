package diagnose

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/logcapturer/log_capturer/internal/ask"
)

// The API.
const (
	PathResources  = "/api/v1/resources"
	PathComponents = "/api/v1/components"
)

const (
	// askTime is how long a census may take, switchTime how long a component may take to
	// stop or start.
	askTime    = 15 * time.Second
	switchTime = 30 * time.Second
)

// Remote is an agent that is asked through its API.
type Remote struct{ Agent *ask.Agent }

// Resources takes a census.
func (r Remote) Resources(ctx context.Context) (s Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return s, r.Agent.Call(ctx, http.MethodGet, PathResources, nil, &s)
}

// Components lists what can be switched.
func (r Remote) Components(ctx context.Context) ([]ComponentState, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var answer struct {
		Components []ComponentState `json:"components"`
	}
	err := r.Agent.Call(ctx, http.MethodGet, PathComponents, nil, &answer)
	return answer.Components, err
}

// Switch starts or stops a component.
func (r Remote) Switch(ctx context.Context, name string, running bool) (c ComponentState, err error) {
	ctx, cancel := context.WithTimeout(ctx, switchTime)
	defer cancel()
	body := struct {
		Running bool `json:"running"`
	}{running}
	return c, r.Agent.Call(ctx, http.MethodPost, PathComponents+"/"+url.PathEscape(name), body, &c)
}
