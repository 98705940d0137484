package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
	"github.com/logcapturer/log_capturer/test/harness"
)

// toxics are the ways in which the network to the stormy sink breaks.
var toxics = []harness.Toxic{
	{Type: "timeout", Stream: "upstream", Attributes: map[string]int64{"timeout": 0}},
	{Type: "timeout", Stream: "downstream", Attributes: map[string]int64{"timeout": 300}},
	{Type: "reset_peer", Stream: "downstream", Attributes: map[string]int64{"timeout": 50}},
	{Type: "limit_data", Stream: "upstream", Attributes: map[string]int64{"bytes": 3000}},
	{Type: "latency", Stream: "downstream", Attributes: map[string]int64{"latency": 1800, "jitter": 600}},
	{Type: "bandwidth", Stream: "upstream", Attributes: map[string]int64{"rate": 10}},
	{Type: "slicer", Stream: "upstream", Attributes: map[string]int64{"average_size": 200, "size_variation": 100, "delay": 500}},
}

// step is something that happens in each round, at a share of it.
type step struct {
	at float64
	do func(t *testing.T, ctx context.Context, round int)
}

// faults has things happen until the time is over; all is as it was when it returns.
func (r *rig) faults(t *testing.T, ctx context.Context) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, 3))
	lasts := func() time.Duration {
		return 6*time.Second + time.Duration(random.Int64N(int64(r.o.round/8)))
	}
	steps := []step{
		{0.05, func(t *testing.T, ctx context.Context, round int) { r.spoil(t, ctx, round, lasts()) }},
		{0.25, func(t *testing.T, _ context.Context, _ int) { r.reload(t, "a sink is added", variant{more: true}) }},
		{0.30, func(t *testing.T, ctx context.Context, round int) { r.lokiDown(t, ctx, round, lasts()) }},
		{0.50, func(t *testing.T, _ context.Context, _ int) { r.reload(t, "a wrong file", variant{wrong: true}) }},
		{0.55, func(t *testing.T, _ context.Context, _ int) {
			r.reload(t, "other limits", variant{more: true, limits: true})
		}},
		{0.60, func(t *testing.T, ctx context.Context, round int) {
			if round%r.o.restarts == 1 {
				r.restartEngine(t, ctx)
			}
		}},
		{0.85, func(t *testing.T, _ context.Context, _ int) { r.reload(t, "the sink is removed", variant{}) }},
	}
	began := time.Now()
	rounds := int(r.o.during / r.o.round)
	for round := range rounds {
		for _, s := range steps {
			at := began.Add(time.Duration((float64(round) + s.at) * float64(r.o.round)))
			if !task.Sleep(ctx, time.Until(at)) {
				return
			}
			s.do(t, ctx, round)
		}
	}
	task.Sleep(ctx, time.Until(began.Add(r.o.during)))
}

func (r *rig) spoil(t *testing.T, ctx context.Context, round int, lasts time.Duration) {
	t.Helper()
	from, what := time.Now(), "connections refused"
	if n := round % (len(toxics) + 1); n < len(toxics) {
		r.proxy.Spoil(t, toxics[n])
		what = toxics[n].Type
	} else {
		r.proxy.Refuse(t)
	}
	task.Sleep(ctx, lasts)
	r.proxy.Mend(t)
	r.did.outages++
	r.marked("outage", "the network to the sink stormy: "+what, from)
}

func (r *rig) lokiDown(t *testing.T, ctx context.Context, round int, lasts time.Duration) {
	t.Helper()
	from, what := time.Now(), "stopped"
	r.loki.Stop(t)
	task.Sleep(ctx, lasts)
	r.loki.Start(t)
	r.did.outages++
	r.marked("outage", "Loki is "+what, from)
}

func (r *rig) reload(t *testing.T, what string, v variant) {
	t.Helper()
	from := time.Now()
	if err := r.agent.SetConfig(r.config(v)); err != nil {
		t.Fatal(err)
	}
	if right := r.agent.Reload(t); right == v.wrong {
		t.Errorf("a reload (%s) was successful: %v", what, right)
	}
	r.did.reloads++
	if v.wrong {
		r.did.refused++
	}
	r.marked("reload", what, from)
}

// restartEngine stops dockerd under its containers, which go on, and starts it again.
func (r *rig) restartEngine(t *testing.T, ctx context.Context) {
	t.Helper()
	r.up.Lock()
	defer r.up.Unlock()
	from := time.Now()
	r.dockerd.Store(0)
	r.engine.Stop(t)
	r.mu.Lock()
	for _, m := range r.fleet {
		m.shaken = true
	}
	r.mu.Unlock()
	task.Sleep(ctx, 2*time.Second)
	before := r.followed() // all that was read before is delivered by now
	r.engine.Start(t)
	r.dockerd.Store(int64(r.engine.PID(t)))
	r.did.engineRestarts++
	r.marked("restart", "dockerd is restarted", from)
	r.streaming(t, before)
}

// followed is how many lines were delivered of each container that is read as a stream.
func (r *rig) followed() map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]int64{}
	for _, m := range r.fleet {
		if m.read == "stream" {
			all[m.c.Name] = r.calm.Of(m.c.Name)
		}
	}
	return all
}

// streaming waits until more was delivered of each than before: its stream is open. One that
// is removed while its stream is broken loses what it wrote meanwhile.
func (r *rig) streaming(t *testing.T, before map[string]int64) {
	t.Helper()
	harness.Eventually(t, time.Minute, fmt.Sprintf("%d streams", len(before)), func() (bool, string) {
		for name, n := range before {
			if r.calm.Of(name) <= n {
				return false, "nothing comes of " + name
			}
		}
		return true, ""
	})
}
