package doctor

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
)

func TestFilesThatMayNotBeRead(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"good.log": 0o644, "bad.log": 0} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "private"), 0); err != nil {
		t.Fatal(err)
	}
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := asNobody(t, place{DataDir: "/", Logs: dir + "/**/*.log"})
	if c := r.check(t, sectionFiles, "include"); c.Level != Warn || !strings.HasPrefix(c.Found, "1 of 2 files cannot be read; permission denied: "+dir+"/bad.log") || c.Fix == "" {
		t.Errorf("%+v", c)
	}
	if c := r.check(t, sectionFiles, "directories"); c.Level != Warn || !strings.Contains(c.Found, dir+"/private") {
		t.Errorf("%+v", c)
	}
}

func TestHowFilesAreJudged(t *testing.T) {
	bad := map[string][]string{"permission denied": {"/1", "/2", "/3", "/4", "/5", "/6", "/7"}}
	for _, c := range []struct {
		all  int
		bad  map[string][]string
		want Finding
	}{
		{0, nil, Finding{Level: Warn, Found: "no file matches"}},
		{1, nil, Finding{Level: OK, Found: "1 file, all readable"}},
		{9, bad, Finding{Level: Warn, Found: "7 of 9 files cannot be read; permission denied: /1, /2, /3, /4, /5 and 2 more"}},
		{7, bad, Finding{Level: Fail, Found: "7 of 7 files cannot be read; permission denied: /1, /2, /3, /4, /5 and 2 more"}},
	} {
		if got := judgeFiles(c.all, c.bad); got.Level != c.want.Level || got.Found != c.want.Found || (got.Fix == "") != (got.Level == OK) {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}

func TestDirectoriesThatAreNotThereYetAreLeftSo(t *testing.T) {
	dir := t.TempDir()
	if f := WritableDir(filepath.Join(dir, "a", "b"), "data_dir"); f.Level != OK || !strings.HasSuffix(f.Found, "/a/b will be made") {
		t.Errorf("%+v", f)
	}
	if f := WritableDir(dir, "data_dir"); f.Level != OK || f.Found != dir+" is writable" {
		t.Errorf("%+v", f)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if f := WritableDir(filepath.Join(file, "x"), "sinks.local_file.path"); f.Level != Fail || !strings.Contains(f.Fix, "sinks.local_file.path") {
		t.Errorf("%+v", f)
	}
}

func TestARunningAgentIsSeenByItsLock(t *testing.T) {
	dir := t.TempDir()
	if held, known := locked(dir); held || !known {
		t.Errorf("without a lock: held %v, known %v", held, known)
	}
	f, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if held, known := locked(dir); held || !known {
		t.Errorf("with a lock that nobody holds: held %v, known %v", held, known)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := Report{Checks: Host{DataDir: dir, Listen: []string{l.Addr().String()}}.agent(t.Context())}
	if c := r.check(t, sectionAgent, "running"); c.Level != OK || c.Found != "an agent is running on this data_dir" {
		t.Errorf("%+v", c)
	}
	if c := r.check(t, sectionAgent, "listen"); c.Level != OK || !strings.Contains(c.Found, "in use") {
		t.Errorf("%+v", c)
	}
	_ = f.Close() // the agent ends
	r = Report{Checks: Host{DataDir: dir, Listen: []string{l.Addr().String()}}.agent(t.Context())}
	if c := r.check(t, sectionAgent, "listen"); c.Level != Fail || !strings.Contains(c.Fix, "server.listen") {
		t.Errorf("%+v", c)
	}
}

func TestRoomForTheSpools(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "spool", "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "spool", "a", "1"), make([]byte, 5000), 0o600); err != nil {
		t.Fatal(err)
	}
	h := Host{DataDir: dir, SpoolMax: 1000, Sinks: make([]Sink, 2)}
	if f := h.room(); f.Level != OK || !strings.Contains(f.Found, "2 sinks may take 2 kB, of which 5 kB are in use") {
		t.Errorf("%+v", f)
	}
	h.SpoolMax = 1 << 60
	if f := h.room(); f.Level != Warn || !strings.Contains(f.Fix, "dispatcher.spool.max_bytes") {
		t.Errorf("%+v", f)
	}
}

func TestLimits(t *testing.T) {
	if c := limits(need{}, false); len(c) < 1 || c[0].Name != "descriptors" {
		t.Errorf("%+v", c)
	}
	if c := limits(need{}, true); len(c) != 1 || !strings.Contains(c[0].Found, "--container") {
		t.Errorf("%+v", c)
	}
	for _, c := range []struct {
		need  int
		limit uint64
		want  Level
	}{{100, 1024, OK}, {900, 1024, Warn}, {1025, 1024, Fail}, {1 << 20, 1<<63 - 1, OK}} {
		if f := judgeDescriptors(c.need, c.limit); f.Level != c.want || (f.Fix == "") != (c.want == OK) {
			t.Errorf("%d of %d: %+v", c.need, c.limit, f)
		}
	}
	if f := judgeDescriptors(1025, 1024); !strings.Contains(f.Fix, "4096") {
		t.Errorf("%+v", f)
	}
	for _, c := range []struct {
		need int
		err  error
		want string
	}{{10, nil, ""}, {7000, nil, "max_user_watches=524288"}, {10, unix.ENOSPC, "max_user_watches=524288"}, {10, unix.EMFILE, "max_user_instances=1024"}, {10, unix.ENOSYS, "seccomp"}} {
		if f := inotify(c.need, 8192, 128, c.err); !strings.Contains(f.Fix, c.want) || (f.Level == OK) != (c.want == "") {
			t.Errorf("%d watches, %v: %+v", c.need, c.err, f)
		}
	}
}

func push(t *testing.T, address string, opts httpsink.Options) Finding {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	opts.Timeout = time.Minute // it is cut
	return Push{
		URL: u, Options: opts, Key: "sinks.loki", Empty: []byte{0}, Header: http.Header{"X-Scope-Orgid": {"a"}},
		Taken: func(status int, words string) bool { return status == 422 && words == "no streams" },
	}.Check(t.Context())
}

func TestWhatASinkAnswers(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   Level
		fix    string
	}{
		{204, "", OK, ""},
		{422, "no streams", OK, ""},
		{422, "no sense", Fail, "sinks.loki.url"},
		{401, "no org id", Fail, "sinks.loki.auth and sinks.loki.tenant"},
		{404, "not found", Fail, "sinks.loki.url"},
		{200, "<html>", Fail, "sinks.loki.url"},
		{302, "", Fail, "redirects"},
		{429, "slow", Warn, "limit"},
		{503, "starting", Fail, "starting"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.Method != "POST" || req.Header.Get("X-Scope-OrgID") != "a" {
				c.status = 500
			}
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		f := push(t, s.URL+"/push", httpsink.Options{})
		s.Close()
		if f.Level != c.want || !strings.Contains(f.Fix, c.fix) || (f.Fix == "") != (c.want == OK) {
			t.Errorf("%d %s: %+v", c.status, c.body, f)
		}
	}
}

func TestASinkThatCannotBeReachedOrTrusted(t *testing.T) {
	if f := push(t, "http://127.0.0.1:1/push", httpsink.Options{}); f.Level != Fail || !strings.Contains(f.Found, "connection refused") || !strings.Contains(f.Fix, "sinks.loki.url") {
		t.Errorf("%+v", f)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that fails
	s.StartTLS()
	defer s.Close()
	if f := push(t, s.URL, httpsink.Options{TLS: httpsink.TLS{InsecureSkipVerify: true}}); f.Level != Warn || !strings.Contains(f.Fix, "ca_file") {
		t.Errorf("%+v", f)
	}
	if f := push(t, s.URL, httpsink.Options{}); f.Level != Fail || !strings.Contains(f.Found, "certificate") {
		t.Errorf("%+v", f)
	}
	if f := push(t, s.URL, httpsink.Options{Auth: httpsink.Auth{BearerTokenFile: "/none"}}); f.Level != Fail || !strings.Contains(f.Found, "/none") {
		t.Errorf("%+v", f)
	}
}

func TestNoSecretIsShown(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Header.Get("Authorization") != "Bearer hunter2" {
			t.Error("the token was not sent")
		}
		w.WriteHeader(403)
	}))
	defer s.Close()
	f := push(t, s.URL+"/push?token=hunter2", httpsink.Options{Auth: httpsink.Auth{BearerTokenFile: secret}})
	if f.Level != Fail || strings.Contains(f.Found+f.Fix, "hunter2") {
		t.Errorf("%+v", f)
	}
}

func TestAPartThatHangsIsAFinding(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	h := place{DataDir: t.TempDir()}.host()
	h.Sinks = []Sink{{Name: "stuck", Check: func(context.Context) Finding {
		<-release // as in a file system that hangs: it does not see the end of its context
		return ok("late")
	}}}
	begin := time.Now()
	r := Examine(t.Context(), h)
	close(release)
	if took := time.Since(begin); took > reachTime+3*grace {
		t.Errorf("it took %s", took)
	}
	if c := r.check(t, sectionSinks, "stuck"); c.Level != Fail || c.Found != "no answer within 5s" || r.Verdict != Fail {
		t.Errorf("%+v", c)
	}
}

func TestReasonIsTheBareCause(t *testing.T) {
	_, err := os.Open("/none/none")
	if got := reason(err); got != "no such file or directory" {
		t.Errorf("got %q", got)
	}
	if got := reason(errors.New("x")); got != "x" {
		t.Errorf("got %q", got)
	}
}
