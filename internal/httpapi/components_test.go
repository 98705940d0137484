package httpapi

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// someComponents has a canary, and a sink that cannot be switched.
type someComponents struct {
	mu  sync.Mutex
	off bool
}

func (s *someComponents) List() []Component {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []Component{{Name: "canary", Running: !s.off}, {Name: "sink.out", Running: true}}
}

func (s *someComponents) Switch(name string, running bool) (Component, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch name {
	case "canary":
		s.off = !running
		return Component{Name: name, Running: running}, nil
	case "sink.out":
		return Component{}, fmt.Errorf("%w: agent/x (1) does not end", ErrBusy)
	}
	return Component{}, fmt.Errorf("%w %q; there are canary, sink.out", ErrUnknown, name)
}

func TestComponentsAreSwitchedByWhoHasTheToken(t *testing.T) {
	s := &someComponents{}
	h := Handler(Routes{Registry: prometheus.NewRegistry(), Components: s, Token: "secret"})
	canary := PathComponents + "/canary"
	const off, bearer = `{"running": false}`, "Bearer secret"
	for _, step := range []struct {
		name, method, path, body string
		header                   []string
		code                     int
		answer                   string
	}{
		{"no token", "POST", canary, off, nil, 401, "api_token in its data_dir"},
		{"another token", "POST", canary, off, []string{"Authorization", "Bearer secrets"}, 401, "api_token"},
		{"a part of it", "POST", canary, off, []string{"Authorization", "Bearer secre"}, 401, "api_token"},
		{"another scheme", "POST", canary, off, []string{"Authorization", "Basic secret"}, 401, "api_token"},
		{"no token, and no such component", "POST", PathComponents + "/x", off, nil, 401, "api_token"},
		{"another host", "POST", canary, off, []string{"Authorization", bearer, "from", "192.0.2.1:1"}, 403, "this host alone"},
		{"another name", "POST", canary, off, []string{"Authorization", bearer, "Host", "evil.example"}, 403, "127.0.0.1"},
		{"a web site", "POST", canary, off, []string{"Authorization", bearer, "Origin", "http://evil.example"}, 403, "web sites"},
		{"a form", "POST", canary, off, []string{"Authorization", bearer, "Content-Type", "text/plain"}, 415, "application/json"},
		{"no such component", "POST", PathComponents + "/x", off, []string{"Authorization", bearer}, 404, `there is no component \"x\"; there are canary, sink.out`},
		{"not a switch", "POST", canary, `{}`, []string{"Authorization", bearer}, 400, "running is missing"},
		{"a wrong word", "POST", canary, `{"on": false}`, []string{"Authorization", bearer}, 400, `unknown field \"on\"`},
		{"two", "POST", canary, off + off, []string{"Authorization", bearer}, 400, "follows"},
		{"what does not end", "POST", PathComponents + "/sink.out", off, []string{"Authorization", bearer}, 409, "agent/x (1)"},
		{"read", "GET", canary, "", nil, 405, "use POST"},
		{"written", "POST", PathComponents, off, nil, 405, "use GET"},
		{"nothing was switched", "GET", PathComponents, "", nil, 200, `{"components":[{"name":"canary","running":true},{"name":"sink.out","running":true}]}`},
		{"off", "POST", canary, off, []string{"Authorization", bearer}, 200, `{"name":"canary","running":false}`},
		{"is off", "GET", PathComponents, "", nil, 200, `{"name":"canary","running":false}`},
		{"on", "POST", canary, `{"running": true}`, []string{"Authorization", "bearer secret"}, 200, `{"name":"canary","running":true}`},
	} {
		t.Run(step.name, func(t *testing.T) {
			w := send(h, step.method, step.path, step.body, step.header...)
			if w.Code != step.code || !strings.Contains(w.Body.String(), step.answer) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, step.code, step.answer)
			}
		})
	}
}

func TestWithoutATokenNobodyHasIt(t *testing.T) {
	h := Handler(Routes{Registry: prometheus.NewRegistry(), Components: &someComponents{}})
	if w := send(h, "POST", PathComponents+"/canary", `{"running": false}`, "Authorization", "Bearer "); w.Code != 401 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
