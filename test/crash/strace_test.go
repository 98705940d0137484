package crash

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/logcapturer/log_capturer/internal/position"
)

// calls are the system calls that change what is on disk. The runtime's own are among
// them: a kill there is one as good as any other.
var calls = []string{"mkdirat", "openat", "pwrite64", "write", "fsync", "ftruncate", "renameat", "linkat", "unlinkat"}

// life is what an earlier life left behind. owed are the lines that it may have sent
// without saving their positions: they come again, whatever happens later.
type life struct {
	dir  string
	owed int64
}

// fresh makes a directory for a first life.
func fresh(t *testing.T) life {
	t.Helper()
	dir := filepath.Join(memDir(t), "fresh")
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	box, err := openBlackbox(filepath.Join(dir, "blackbox"))
	if err != nil {
		t.Fatal(err)
	}
	if err := box.close(); err != nil {
		t.Fatal(err)
	}
	return life{dir: dir}
}

// base makes a directory in which a first life has left a spool, positions and dead
// letters, as if killed.
func base(t *testing.T) life {
	t.Helper()
	dir := filepath.Join(memDir(t), "base")
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	box, err := openBlackbox(filepath.Join(dir, "blackbox"))
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	r, err := openRig(filepath.Join(dir, "data"), box, options{
		sources: victimSources, lines: victimLines / 4, disk: func(f func()) { mu.Lock(); defer mu.Unlock(); f() },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.load(ctx); err != nil {
		t.Fatal(err)
	}
	saved := func(name string) bool { _, err := os.Stat(filepath.Join(dir, "data", name)); return err == nil }
	if err := eventually("positions saved", func() bool { return saved(position.FileName) }); err != nil {
		t.Fatal(err)
	}
	r.sink.down.Store(true)
	for _, o := range r.sources[1:] { // the first would wait for the sink
		if err := o.run(ctx, victimLines/2); err != nil {
			t.Fatal(err)
		}
	}
	filled := func() bool { return saved(position.FileName+".prev") && r.lane.Stats().SpoolLines > 20 }
	if err := eventually("a filled spool, and positions saved twice", filled); err != nil {
		t.Fatal(err)
	}
	var copied error
	l := life{dir: dir + "-killed"}
	r.disk(func() { copied = copyTree(dir, l.dir) })
	if copied != nil {
		t.Fatal(copied)
	}
	store, err := position.OpenStore(filepath.Join(l.dir, "data"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l.owed = leaseBytes / int64(len(text(0, 0)))
	for _, o := range r.sources {
		l.owed += o.next - offset(store.Get(o.src.ID))
	}
	tear(t, filepath.Join(dir+"-killed", "data", "spool", sinkName))
	r.sink.down.Store(false)
	if err := r.end(ctx); err != nil {
		t.Fatal(err)
	}
	if err := box.close(); err != nil {
		t.Fatal(err)
	}
	return l
}

// tear leaves half a record at the end of the last segment.
func tear(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatalf("segments: %q, %v", names, err)
	}
	f, err := os.OpenFile(slices.Max(names), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// traced runs a victim on a copy of the base under strace with the given arguments, and
// returns where it ran, how it ended (137: killed) and what it said.
func traced(ctx context.Context, base, dir string, args ...string) (code int, said string, err error) {
	if err := copyTree(base, dir); err != nil {
		return 0, "", err
	}
	box, err := os.OpenFile(filepath.Join(dir, "blackbox"), os.O_RDWR, 0)
	if err != nil {
		return 0, "", err
	}
	defer box.Close()
	args = append([]string{"-f", "-qq", "-o", filepath.Join(dir, "trace")}, args...)
	cmd := exec.CommandContext(ctx, "strace", append(args, os.Args[0])...)
	cmd.Env = append(os.Environ(), role+"=victim", victimDir+"="+dir, "GOMAXPROCS=2")
	cmd.ExtraFiles = []*os.File{box}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err, code = nil, exit.ExitCode()
		if code < 0 { // strace ends itself as its victim was ended
			code = 137
		}
	}
	return code, out.String(), err
}

// counted returns how often the disk's thread made each call in an undisturbed run.
func counted(t *testing.T, base string) map[string]int {
	t.Helper()
	dir := filepath.Join(memDir(t), "counted")
	code, said, err := traced(t.Context(), base, dir, "-e", "trace="+strings.Join(calls, ","))
	if err != nil || code != exitOK {
		t.Fatalf("an undisturbed run: exit %d, %v, %s", code, err, said)
	}
	trace, err := os.ReadFile(filepath.Join(dir, "trace"))
	if err != nil {
		t.Fatal(err)
	}
	perThread := map[string]int{}
	most := map[string]int{}
	for line := range strings.Lines(string(trace)) {
		thread, rest, _ := strings.Cut(line, " ")
		name, _, ok := strings.Cut(strings.TrimSpace(rest), "(")
		if !ok || strings.HasPrefix(name, "<") {
			continue
		}
		perThread[thread+" "+name]++
		most[name] = max(most[name], perThread[thread+" "+name])
	}
	return most
}

// tally is what a group of runs adds up to; it is safe for concurrent use.
type tally struct {
	mu                             sync.Mutex
	runs, hit, refused             int
	lines, lost, missing, repeated int64
	slowest, degraded              time.Duration
	bad                            []string
}

func (a *tally) add(what string, v verdict, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.runs++
	a.lines += v.lines
	a.lost += v.lost + v.counted
	a.missing += v.missing
	a.repeated = max(a.repeated, v.repeated)
	a.slowest = max(a.slowest, v.up)
	if err != nil || v.lost > 0 || v.missing > 0 || v.counted > 0 || v.repeated > v.bound || v.up > 5*time.Second {
		a.bad = append(a.bad, fmt.Sprintf("%s: %v; %+v", what, err, v))
	}
}

func (a *tally) check(t *testing.T) {
	t.Helper()
	for i, bad := range a.bad {
		if i == 10 {
			t.Errorf("and %d more", len(a.bad)-i)
			break
		}
		t.Error(bad)
	}
}

// A kill at each system call that reaches the disk loses nothing that was acknowledged.
func TestAKillAtEverySystemCall(t *testing.T) {
	type point struct {
		from life
		call string
		n    int
	}
	var points []point
	seen := map[string]bool{}
	for _, from := range []life{fresh(t), base(t)} {
		for call, n := range counted(t, from.dir) {
			seen[call] = true
			for n := range n {
				points = append(points, point{from, call, n + 1})
			}
		}
	}
	for _, call := range calls {
		if !seen[call] {
			t.Errorf("no %s in the load: the list of calls is wrong", call)
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(strings.Compare(filepath.Base(a.from.dir), filepath.Base(b.from.dir)), strings.Compare(a.call, b.call), a.n-b.n)
	})
	all := len(points)
	s := seed(t)
	rand.New(rand.NewPCG(s, 2)).Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	points = points[:min(some(30, all), all)]
	dir := memDir(t)
	var a tally
	var g errgroup.Group
	g.SetLimit(3)
	for i, p := range points {
		g.Go(func() error {
			dir := filepath.Join(dir, strconv.Itoa(i))
			code, said, err := traced(t.Context(), p.from.dir, dir, "-e", "trace="+p.call, "-e", "inject="+p.call+":signal=KILL:when="+strconv.Itoa(p.n))
			if err != nil || code != 137 && code != exitOK {
				return fmt.Errorf("%s %d: exit %d, %w, %s", p.call, p.n, code, err, said)
			}
			before, enough, err := readBlackbox(filepath.Join(dir, "blackbox"))
			if err != nil || !enough {
				return fmt.Errorf("the black box was enough: %v, %w", enough, err)
			}
			v, err := judge(filepath.Join(dir, "data"), before, victimSources, victimLines)
			v.bound += p.from.owed
			a.add(fmt.Sprintf("%s %d", p.call, p.n), v, err)
			if code == 137 {
				a.mu.Lock()
				a.hit++
				a.mu.Unlock()
			}
			return os.RemoveAll(dir)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	a.check(t)
	if a.hit < len(points)*8/10 {
		t.Errorf("%d of %d victims were killed", a.hit, len(points))
	}
	row(t, "killed at a system call of the disk", a.hit, a.lines, a.lost+a.missing, a.repeated,
		fmt.Sprintf("%d of %d points; up again after %v at most", len(points), all, a.slowest.Round(time.Millisecond)))
}

// One error of each call, at the start, early, in the middle and late in the load.
func TestEverySystemCallFailsOnce(t *testing.T) {
	from := base(t)
	most := counted(t, from.dir)
	dir := memDir(t)
	r := rand.New(rand.NewPCG(seed(t), 3))
	var a tally
	var g errgroup.Group
	g.SetLimit(6) // a spool that failed is left alone for five seconds
	for _, call := range slices.Sorted(maps.Keys(most)) {
		for _, errno := range []string{"EIO", "ENOSPC"} {
			tries := some(3, 12)
			done := map[int]bool{}
			for i := range tries {
				n := 1 + (most[call]*i+r.IntN(most[call]))/tries
				if done[n] {
					continue
				}
				done[n] = true
				what := fmt.Sprintf("%s %d %s", call, n, errno)
				g.Go(func() error { return failsOnce(t, from, filepath.Join(dir, what), what, call, n, errno, &a) })
			}
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	a.check(t)
	if a.hit == 0 {
		t.Error("health never told of a failure")
	}
	row(t, "a system call of the disk fails once (EIO, ENOSPC)", a.runs, a.lines, a.lost+a.missing, a.repeated,
		fmt.Sprintf("health told in %d runs, after %v at most; %d starts refused, the next one went on", a.hit, a.degraded.Round(time.Millisecond), a.refused))
}

func failsOnce(t *testing.T, from life, dir, what, call string, n int, errno string, a *tally) error {
	started := time.Now()
	code, said, err := traced(t.Context(), from.dir, dir, "-e", "trace="+call, "-e", "inject="+call+":error="+errno+":when="+strconv.Itoa(n))
	if err != nil || code != exitOK && code != exitRefused {
		return fmt.Errorf("%s: exit %d, %w, %s", what, code, err, said)
	}
	before, enough, err := readBlackbox(filepath.Join(dir, "blackbox"))
	if err != nil || !enough {
		return fmt.Errorf("the black box was enough: %v, %w", enough, err)
	}
	v, err := judge(filepath.Join(dir, "data"), before, victimSources, victimLines)
	v.bound += from.owed
	a.add(what, v, err)
	a.mu.Lock()
	defer a.mu.Unlock()
	if code == exitRefused {
		a.refused++
	}
	if before.hurt > 0 {
		a.hit++
		a.degraded = max(a.degraded, time.UnixMilli(before.hurt).Sub(started))
	}
	return os.RemoveAll(dir)
}
