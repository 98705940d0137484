package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/source"
)

func TestRotationSettings(t *testing.T) {
	type options = map[string]string
	for _, c := range []struct {
		driver string
		opts   options
		want   *Rotation
		kept   int64
	}{
		{jsonFile, nil, &Rotation{MaxFiles: 1}, 0},
		{jsonFile, options{"max-size": "-1", "max-file": "3"}, &Rotation{MaxFiles: 3}, 0},
		{jsonFile, options{"max-size": "10m", "max-file": "3"}, &Rotation{MaxSize: 10e6, MaxFiles: 3}, 30e6},
		{jsonFile, options{"max-size": "1m", "max-file": "3", "compress": "true"}, &Rotation{MaxSize: 1e6, MaxFiles: 3, Compress: true}, 1e6},
		{jsonFile, options{"max-size": "1k", "mode": "non-blocking"}, &Rotation{MaxSize: 1000, MaxFiles: 1, NonBlocking: true}, 1000},
		{jsonFile, options{"max-size": "lots"}, nil, 0},
		{jsonFile, options{"max-file": "0"}, nil, 0},
		{local, nil, &Rotation{MaxSize: 20 << 20, MaxFiles: 5, Compress: true}, 20 << 20},
		{local, options{"compress": "false", "max-size": "1m"}, &Rotation{MaxSize: 1e6, MaxFiles: 5}, 5e6},
		{"syslog", options{"max-size": "1m", "cache-max-file": "2", "cache-compress": "false"}, &Rotation{MaxSize: 20 << 20, MaxFiles: 2}, 40 << 20},
		{journald, options{"max-size": "1m"}, nil, 0},
	} {
		got := rotationOf(docker.Details{Driver: c.driver, LogOpts: c.opts})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s %v (-want +got):\n%s", c.driver, c.opts, diff)
		}
		if got != nil && got.kept() != c.kept {
			t.Errorf("%s %v: keeps %d, want %d", c.driver, c.opts, got.kept(), c.kept)
		}
	}
}

func TestWhatIsWrongWithAContainer(t *testing.T) {
	dir := t.TempDir()
	closed := filepath.Join(dir, "loop") // opening it fails for every user
	if err := os.Symlink(closed, closed); err != nil {
		t.Fatal(err)
	}
	fine := &Rotation{MaxSize: 10e6, MaxFiles: 3}
	fast, slow := 1e6, 1e3
	for name, c := range map[string]struct {
		container Container
		want      []string // the beginning of each finding
		window    float64
	}{
		"all is well":            {container: Container{Driver: jsonFile, Mode: source.File, Rotation: fine, Rate: &slow}, window: 30_000},
		"a short window":         {container: Container{Driver: jsonFile, Mode: source.File, Rotation: fine, Rate: &fast}, window: 30, want: []string{"warn at this rate"}},
		"without end":            {container: Container{Driver: jsonFile, Mode: source.File, Rotation: &Rotation{MaxFiles: 1}, Rate: &fast}, want: []string{"warn its log has no max-size"}},
		"truncated":              {container: Container{Driver: jsonFile, Mode: source.File, Rotation: &Rotation{MaxSize: 1e9, MaxFiles: 1}}, want: []string{"warn max-file=1"}},
		"compressed":             {container: Container{Driver: jsonFile, Mode: source.File, Rotation: &Rotation{MaxSize: 1e9, MaxFiles: 2, Compress: true}}, want: []string{"warn compress=true"}},
		"non-blocking":           {container: Container{Driver: local, Mode: source.Stream, Rotation: &Rotation{MaxSize: 1e9, MaxFiles: 2, Compress: true, NonBlocking: true}}, want: []string{"warn mode=non-blocking"}},
		"unreadable, auto":       {container: Container{Driver: jsonFile, Mode: source.Stream, Rotation: fine, blocked: true}, want: []string{"warn its json-file cannot be read"}},
		"unreadable, file":       {container: Container{Driver: jsonFile, Mode: source.File, Rotation: fine, path: closed}, want: []string{"fail its json-file cannot be read"}},
		"a stream, as asked":     {container: Container{Driver: jsonFile, Mode: source.Stream, Rotation: fine}},
		"the dual-logging cache": {container: Container{Driver: "syslog", Mode: source.Stream}, want: []string{"warn log driver syslog"}},
		"nothing is kept":        {container: Container{Driver: "syslog", Mode: source.Stream, empty: true}, want: []string{"fail log driver syslog with cache-disabled"}},
		"journald":               {container: Container{Driver: journald, Mode: source.Stream}},
		"podman":                 {container: Container{Driver: docker.K8sFile, Mode: source.Stream}},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.container
			got.Captured, got.Running = true, true
			got.judge()
			var found []string
			for i, f := range got.Findings {
				found = append(found, string(f.Level)+" "+f.Found)
				if f.Fix == "" {
					t.Errorf("%q has no fix", f.Found)
				}
				if i >= len(c.want) || !strings.HasPrefix(found[i], c.want[i]) {
					t.Errorf("found %q, want %q", found, c.want)
				}
			}
			if len(found) != len(c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
			if c.window == 0 && got.LossWindow != nil || c.window != 0 && (got.LossWindow == nil || *got.LossWindow != c.window) {
				t.Errorf("window %s, want %v", text(got.LossWindow), c.window)
			}
		})
	}
}

func TestWhyAContainerIsSkipped(t *testing.T) {
	for _, c := range []struct {
		details docker.Details
		reasons map[string]int
		want    string
	}{
		{docker.Details{}, map[string]int{"excluded": 2}, "left out by container_monitor.include or exclude"},
		{docker.Details{Driver: "none"}, map[string]int{"excluded": 2, "log_driver_none": 1}, "its log driver is none: the engine keeps nothing"},
		{docker.Details{}, map[string]int{"excluded": 2, "log_driver_none": 1}, "left out by container_monitor.include or exclude"},
		{docker.Details{Labels: map[string]string{discover.SelfLabel: "true"}}, map[string]int{"excluded": 2, "self": 1}, "it is the agent's own (container_monitor.self)"},
		{docker.Details{Labels: map[string]string{"log_capturer.enable": "false"}}, map[string]int{"disabled": 1, "excluded": 2}, "its label log_capturer.enable is false"},
		{docker.Details{}, map[string]int{"disabled": 1, "excluded": 2}, "left out by container_monitor.include or exclude"},
		{docker.Details{}, map[string]int{"some_new_reason": 1}, "some new reason"},
		{docker.Details{}, nil, "it was created just now"},
	} {
		if got := skipReason(c.details, c.reasons); got != c.want {
			t.Errorf("%v: %q, want %q", c.reasons, got, c.want)
		}
	}
}
