package deploy

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"

	"github.com/logcapturer/log_capturer/internal/app"
	"github.com/logcapturer/log_capturer/internal/config"
	"github.com/logcapturer/log_capturer/internal/sink/loki"
)

// project is compose.yaml as Compose understands it.
func project(t *testing.T) *types.Project {
	t.Helper()
	dir, err := filepath.Abs("compose")
	if err != nil {
		t.Fatal(err)
	}
	p, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  dir,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(dir, "compose.yaml")}},
		Environment: types.Mapping{},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeAcceptsTheStack(t *testing.T) {
	p := project(t)
	if names := p.ServiceNames(); !slices.Equal(names, []string{"grafana", "log_capturer", "loki", "prometheus", "sample"}) {
		t.Fatalf("services: %v", names)
	}
	pinned := regexp.MustCompile(`:v?\d+\.\d+\.\d+$`)
	for name, s := range p.Services {
		if s.Build == nil && !pinned.MatchString(s.Image) {
			t.Errorf("%s: the image %s has no version", name, s.Image)
		}
		if s.HealthCheck == nil && name != "sample" {
			t.Errorf("%s has no health check", name)
		}
		if s.Restart != "unless-stopped" {
			t.Errorf("%s is not started again", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to others: %q", name, port.Published, port.HostIP)
			}
		}
		for key, value := range s.Environment {
			if strings.Contains(key, "PASSWORD") && value != nil {
				t.Errorf("%s has the password %s", name, key)
			}
		}
	}
}

// hosts are paths that every Docker host has.
var hosts = []string{"/var/run/docker.sock", "/var/lib/docker/containers", "/var/log"}

func TestWhatTheStackMountsIsThere(t *testing.T) {
	p := project(t)
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			switch {
			case v.Type == types.VolumeTypeVolume:
				if _, ok := p.Volumes[v.Source]; !ok {
					t.Errorf("%s: there is no volume %s", name, v.Source)
				}
			case slices.Contains(hosts, v.Source):
				if v.Target != v.Source || !v.ReadOnly {
					t.Errorf("%s: %s is not mounted where it is, or can be written", name, v.Source)
				}
			default:
				if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
					t.Errorf("%s: %s: %v, read only: %v", name, v.Source, err, v.ReadOnly)
				}
			}
		}
		if s.Build != nil {
			if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// reachable fails unless address, host:port, is a service of the stack at its port.
func reachable(t *testing.T, p *types.Project, who, address string) {
	t.Helper()
	host, port, _ := strings.Cut(address, ":")
	s, ok := p.Services[host]
	if !ok {
		t.Errorf("%s: there is no service %s", who, host)
		return
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || !slices.ContainsFunc(s.Ports, func(p types.ServicePortConfig) bool { return uint64(p.Target) == n }) {
		t.Errorf("%s: service %s does not listen on %s", who, host, port)
	}
}

func TestTheServicesFindEachOther(t *testing.T) {
	p := project(t)
	cfg, err := app.LoadConfig(config.Loader{}, "compose/log_capturer.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.DataDir != "/var/lib/log_capturer" && os.Geteuid() == 0 {
		t.Errorf("data_dir is %s, which is no volume", cfg.DataDir)
	}
	reachable(t, p, "Prometheus", strings.Replace(cfg.Server.Listen, "0.0.0.0", "log_capturer", 1))
	settings, ok := cfg.Sinks["loki"].Settings.(*loki.Config)
	if !ok {
		t.Fatal("the agent has no sink loki")
	}
	reachable(t, p, "the agent", host(t, settings.URL))

	var prometheus struct {
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			StaticConfigs []struct {
				Targets []string `yaml:"targets"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	parse(t, "prometheus/prometheus.yml", &prometheus)
	jobs := map[string]bool{}
	for _, s := range prometheus.ScrapeConfigs {
		jobs[s.JobName] = true
		for _, target := range s.StaticConfigs[0].Targets {
			reachable(t, p, "Prometheus", strings.Replace(target, "localhost", "prometheus", 1))
		}
	}
	if !jobs["log_capturer"] {
		t.Errorf("Prometheus does not ask the agent: %v", jobs)
	}

	var sources struct {
		Datasources []struct {
			Name string `yaml:"name"`
			URL  string `yaml:"url"`
		} `yaml:"datasources"`
	}
	parse(t, "grafana/provisioning/datasources/datasources.yaml", &sources)
	if len(sources.Datasources) != 2 {
		t.Errorf("%d data sources", len(sources.Datasources))
	}
	for _, s := range sources.Datasources {
		reachable(t, p, "Grafana", host(t, s.URL))
	}

	var dashboards struct {
		Providers []struct {
			Options struct {
				Path string `yaml:"path"`
			} `yaml:"options"`
		} `yaml:"providers"`
	}
	parse(t, "grafana/provisioning/dashboards/dashboards.yaml", &dashboards)
	mounts := p.Services["grafana"].Volumes
	if path := dashboards.Providers[0].Options.Path; !strings.HasPrefix(path, mounts[0].Target+"/") {
		t.Errorf("Grafana looks for dashboards in %s; mounted is %s", path, mounts[0].Target)
	}
	if where := p.Services["grafana"].Environment["GF_PATHS_PROVISIONING"]; where == nil || *where != mounts[0].Target+"/provisioning" {
		t.Errorf("Grafana looks for its data sources in %v", where)
	}
}

func host(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// What docker run is told in the README, Compose is told too.
func TestTheAgentOfTheStackHasFewPrivileges(t *testing.T) {
	s := project(t).Services["log_capturer"]
	if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.CapAdd, []string{"DAC_READ_SEARCH"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("read only: %v, privileged: %v, capabilities dropped %v, added %v, %v", s.ReadOnly, s.Privileged, s.CapDrop, s.CapAdd, s.SecurityOpt)
	}
}
