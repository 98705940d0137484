// Package ask asks an agent that runs on this host, through its API.
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
	transport := &http.Transport{DisableKeepAlives: true} // and no proxy: it is this host
	return &Agent{base: "http://" + net.JoinHostPort(host, port), why: why, http: &http.Client{Transport: transport}}
}

// Base is where it is asked, such as http://127.0.0.1:8001.
func (a *Agent) Base() string { return a.base }

// WithToken returns the agent, asked with this bearer token.
func (a *Agent) WithToken(token string) *Agent {
	with := *a
	with.token = token
	return &with
}

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
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, in)
	if err != nil {
		return fmt.Errorf("ask the agent at %s: %w", a.base, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s, and its API does not answer: %w; give the configuration that the agent runs with, its server.listen is asked", a.why, err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			return fmt.Errorf("read the agent's answer from %s: %w", a.base, err)
		}
		return nil
	}
	var refusal struct {
		Error string `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&refusal); err != nil || refusal.Error == "" {
		return fmt.Errorf("the agent at %s answers %s; is it another version, or no log_capturer?", a.base, res.Status)
	}
	return errors.New(refusal.Error)
}
