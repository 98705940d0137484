package doctor

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/test/harness"
)

// childVerb makes the test binary examine a host, given as JSON, as another user.
const childVerb = "examine-as-a-child"

// nobody is a user id without rights.
const nobody = 65534

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childVerb {
		os.Exit(child(os.Args[2]))
	}
	harness.Main(m)
}

// place is what a child is told of a host.
type place struct{ DockerHost, DataDir, Logs, Journal string }

func (p place) host() Host {
	h := Host{
		Hostname: "test", Containers: discover.DefaultContainerConfig(), Files: discover.DefaultFileConfig(),
		Journal: discover.DefaultJournalConfig(), DataDir: p.DataDir, SpoolMax: 1 << 20, Sample: 200 * time.Millisecond,
	}
	h.Containers.DockerHost, h.Containers.Enabled = p.DockerHost, p.DockerHost != ""
	h.Files.Include, h.Files.Enabled = []string{p.Logs}, p.Logs != ""
	h.Journal.Directory, h.Journal.Enabled = p.Journal, p.Journal != ""
	return h
}

func child(text string) int {
	var p place
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(Examine(context.Background(), p.host())); err != nil {
		return 1
	}
	return 0
}

// asNobody examines the place as a user without rights: this one, unless it is root.
func asNobody(t *testing.T, p place) Report {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", childVerb, string(text))
	cmd.Dir, cmd.Stderr = "/", os.Stderr
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

// check returns the check of that section and name.
func (r Report) check(t *testing.T, section, name string) Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Section == section && c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s/%s in %+v", section, name, r.Checks)
	return Check{}
}

func (r Report) container(t *testing.T, name string) Container {
	t.Helper()
	for _, c := range r.Containers {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no container %s in %+v", name, r.Containers)
	return Container{}
}
