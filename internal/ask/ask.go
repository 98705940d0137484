// Package ask asks an agent that runs, on this host as a rule, through its API.
package ask

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
	"strings"
)

// Agent is an agent that runs.
type Agent struct {
	base  string
	why   string
	token string
	http  *http.Client
}

// At returns the agent whose server.listen this is. It is connected to with each call. why
// says, for errors, why it is asked.
func At(listen, why string) *Agent {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		host, port = listen, ""
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return at("http://"+net.JoinHostPort(host, port), why)
}

// WithToken returns the agent, asked with this bearer token.
func (a *Agent) WithToken(token string) *Agent {
	with := *a
	with.token = token
	return &with
}

// AtURL is At for an agent that is reached in another way, for example by a proxy.
func AtURL(base, why string) (*Agent, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no address; expected something like http://127.0.0.1:8001", base)
	}
	return at(strings.TrimRight(base, "/"), why), nil
}

func at(base, why string) *Agent {
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy: it is this host
	return &Agent{base: base, why: why, http: &http.Client{Transport: transport}}
}

// URL returns where it is asked, without a slash at its end.
func (a *Agent) URL() string { return a.base }

// Call sends body, if it is not nil, and fills out from the answer. The error is what the
// agent says, or why it did not answer.
func (a *Agent) Call(ctx context.Context, method, path string, body, out any) error {
	var in io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("ask the agent: %w", err)
		}
		in = bytes.NewReader(text)
	}
	res, err := a.send(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("%s, and its API does not answer: %w; give the configuration that the agent runs with, its server.listen is asked", a.why, err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return a.decode(res, out)
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&refusal); err != nil || refusal.Error == "" {
		return a.strange(res)
	}
	return errors.New(refusal.Error)
}

// State gets what the agent says of itself, /health or /ready, and fills out from it. It
// tells whether the agent says that all is well (200), or that it is not (503). The error
// is why there is no such answer.
func (a *Agent) State(ctx context.Context, path string, out any) (well bool, err error) {
	res, err := a.send(ctx, http.MethodGet, path, http.NoBody)
	if err != nil {
		var why *url.Error
		if errors.As(err, &why) {
			err = why.Err // the address is told already
		}
		return false, fmt.Errorf("no agent answers at %s: %w", a.base, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable {
		return false, a.strange(res)
	}
	return res.StatusCode == http.StatusOK, a.decode(res, out)
}

func (a *Agent) send(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the agent at %s: %w", a.base, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	return a.http.Do(req)
}

func (a *Agent) decode(res *http.Response, out any) error {
	if err := json.NewDecoder(res.Body).Decode(out); err != nil {
		return fmt.Errorf("read the agent's answer from %s: %w; is it another version, or no log_capturer?", a.base, err)
	}
	return nil
}

func (a *Agent) strange(res *http.Response) error {
	return fmt.Errorf("the agent at %s answers %s; is it another version, or no log_capturer?", a.base, res.Status)
}
