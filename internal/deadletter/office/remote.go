package office

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
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
type Remote struct {
	base string
	why  string
	http *http.Client
}

var _ Desk = (*Remote)(nil)

// NewRemote returns the office of the agent whose server.listen this is. It connects
// with each call. why says, for errors, why the agent is asked.
func NewRemote(listen, why string) *Remote {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		host, port = listen, ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy: it is this host
	return &Remote{base: "http://" + net.JoinHostPort(host, port), why: why, http: &http.Client{Transport: transport}}
}

// List implements Desk.
func (r *Remote) List(ctx context.Context, f Filter) (out Listing, err error) {
	return out, r.call(ctx, http.MethodGet, PathList+"?"+query(f).Encode(), nil, &out)
}

// Show implements Desk.
func (r *Remote) Show(ctx context.Context, f Filter, limit int) (out Shown, err error) {
	q := query(f)
	q.Set("limit", strconv.Itoa(limit))
	return out, r.call(ctx, http.MethodGet, PathEntries+"?"+q.Encode(), nil, &out)
}

// Replay implements Desk. It takes as long as the sinks do.
func (r *Remote) Replay(ctx context.Context, f Filter, dryRun bool) (out Replayed, err error) {
	return out, r.call(ctx, http.MethodPost, PathReplay, Request{Filter: f, DryRun: dryRun}, &out)
}

// Purge implements Desk.
func (r *Remote) Purge(ctx context.Context, f Filter, dryRun bool) (out Purged, err error) {
	return out, r.call(ctx, http.MethodPost, PathPurge, Request{f, dryRun, f == Filter{}}, &out)
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

func (r *Remote) call(ctx context.Context, method, path string, body, out any) error {
	var in io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("ask the agent: %w", err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, in)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: %w", r.base, err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := r.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s, and its API does not answer: %w; give the configuration that the agent runs with, its server.listen is asked", r.why, err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			return fmt.Errorf("read the agent's answer from %s: %w", r.base, err)
		}
		return nil
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&refusal); err != nil || refusal.Error == "" {
		return fmt.Errorf("the agent at %s answers %s; is it another version, or no log_capturer?", r.base, res.Status)
	}
	return errors.New(refusal.Error)
}
