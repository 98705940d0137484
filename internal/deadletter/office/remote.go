package office

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/logcapturer/log_capturer/internal/ask"
)

// The paths of the API.
const (
	PathList    = "/api/v1/deadletters"
	PathEntries = PathList + "/entries"
	PathReplay  = PathList + "/replay"
	PathPurge   = PathList + "/purge"
)

// Request is the body of a replay or a purge.
type Request struct {
	Filter

	DryRun bool `json:"dry_run,omitempty"`
	// All must be set to purge without a filter.
	All bool `json:"all,omitempty"`
}

// Remote is the office of an agent that runs, through its API.
type Remote struct{ agent *ask.Agent }

var _ Desk = (*Remote)(nil)

// NewRemote returns the office of an agent.
func NewRemote(agent *ask.Agent) *Remote { return &Remote{agent} }

// List implements Desk.
func (r *Remote) List(ctx context.Context, f Filter) (out Listing, err error) {
	return out, r.agent.Call(ctx, http.MethodGet, PathList+"?"+query(f).Encode(), nil, &out)
}

// Show implements Desk.
func (r *Remote) Show(ctx context.Context, f Filter, limit int) (out Shown, err error) {
	q := query(f)
	q.Set("limit", strconv.Itoa(limit))
	return out, r.agent.Call(ctx, http.MethodGet, PathEntries+"?"+q.Encode(), nil, &out)
}

// Replay implements Desk. It takes as long as the sinks do.
func (r *Remote) Replay(ctx context.Context, f Filter, dryRun bool) (out Replayed, err error) {
	return out, r.agent.Call(ctx, http.MethodPost, PathReplay, Request{Filter: f, DryRun: dryRun}, &out)
}

// Purge implements Desk.
func (r *Remote) Purge(ctx context.Context, f Filter, dryRun bool) (out Purged, err error) {
	return out, r.agent.Call(ctx, http.MethodPost, PathPurge, Request{f, dryRun, f == Filter{}}, &out)
}

func query(f Filter) url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"sink": f.Sink, "reason": f.Reason, "source": f.Source} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}
