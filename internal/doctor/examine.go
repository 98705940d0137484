package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/task"
)

// The time limits.
const (
	// reachTime bounds what should answer at once: an engine's ping, a sink.
	reachTime = 5 * time.Second
	// perContainer is added for each container that is inspected.
	perContainer = 20 * time.Millisecond
	// fileTime bounds the search for log files.
	fileTime = 5 * time.Second
	// grace is how much longer a part is waited for that does not see its context's end,
	// because it hangs in a file system.
	grace = 500 * time.Millisecond
)

// Host is what is examined: the parts of the configuration that depend on the host.
type Host struct {
	// Config is the configuration's file, for the report.
	Config     string
	Hostname   string
	Containers discover.ContainerConfig
	Files      discover.FileConfig // what the agent writes itself is excluded
	Journal    discover.JournalConfig
	DataDir    string
	// Listen are the addresses that the agent listens on.
	Listen []string
	// SpoolMax is dispatcher.spool.max_bytes, in bytes, for each sink.
	SpoolMax int64
	Sinks    []Sink
	// Sample is how long the containers' rates are sampled for.
	Sample time.Duration
	// Glob, if set, leaves out the containers whose names do not match.
	Glob string
}

// Sink is one sink, and how to find out whether it takes lines.
type Sink struct {
	Name string
	// Check may take as long as ctx allows.
	Check func(ctx context.Context) Finding
}

// need adds up what the agent will take of the limits.
type need struct {
	descriptors, watches int
}

// Examine looks at everything, at the same time, and returns when all parts have ended
// or were given up.
func Examine(ctx context.Context, h Host) Report {
	scope := task.NewRoot(ctx, "doctor", slog.New(slog.DiscardHandler))
	containers := begin(scope, 0, func(ctx context.Context) engineResult { return h.engine(ctx) })
	files := begin(scope, fileTime, h.files)
	journal := begin(scope, reachTime, h.journal)
	var sinks []part[Finding]
	for _, s := range h.Sinks {
		sinks = append(sinks, begin(scope, reachTime, s.Check))
	}
	agent := begin(scope, reachTime, h.agent)

	report := Report{Config: h.Config, Sample: seconds(h.Sample), Checks: []Check{}, Containers: []Container{}}
	valid := ok("the built-in defaults; no file was found")
	if h.Config != "" {
		valid = ok(h.Config + " is valid")
	}
	report.add(sectionConfig, "file", valid)
	var total need
	found, _ := containers.wait() // bounds itself
	report.Checks = append(report.Checks, found.checks...)
	report.Containers = append(report.Containers, found.containers...)
	total.add(found.need)

	if looked, err := files.wait(); err != nil {
		report.add(sectionFiles, "include", fail(err.Error(), "a file system below file_monitor.include hangs; narrow the globs, or mend its mount"))
	} else {
		report.Checks = append(report.Checks, looked.checks...)
		total.add(looked.need)
	}
	if f, err := journal.wait(); err != nil {
		report.add(sectionJournal, "entries", fail(err.Error(), "the file system of the journal hangs; mend its mount"))
	} else {
		report.add(sectionJournal, "entries", f)
	}
	for i, p := range sinks {
		f, err := p.wait()
		if err != nil {
			f = fail(err.Error(), "check that the sink runs and that nothing between drops packets")
		}
		report.add(sectionSinks, h.Sinks[i].Name, f)
	}
	if checks, err := agent.wait(); err != nil {
		report.add(sectionAgent, "data_dir", fail(err.Error(), "the file system of data_dir hangs; mend its mount"))
	} else {
		report.Checks = append(report.Checks, checks...)
	}
	report.Checks = append(report.Checks, limits(total, h.Glob != "")...)
	report.judge()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	_ = scope.Close(end) // what hangs in the kernel ends with the process
	return report
}

func (n *need) add(more need) {
	n.descriptors += more.descriptors
	n.watches += more.watches
}

// part is something that is being looked at.
type part[T any] struct {
	done  chan T
	limit time.Duration // 0 = it bounds itself
}

func begin[T any](scope *task.Scope, limit time.Duration, look func(context.Context) T) part[T] {
	p := part[T]{done: make(chan T, 1), limit: limit}
	scope.Go("look", func(ctx context.Context) {
		if limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		p.done <- look(ctx)
	})
	return p
}

// wait returns the result, or an error when it does not come in time.
func (p part[T]) wait() (T, error) {
	if p.limit == 0 {
		return <-p.done, nil
	}
	timer := time.NewTimer(p.limit + grace)
	defer timer.Stop()
	select {
	case result := <-p.done:
		return result, nil
	case <-timer.C:
		var none T
		return none, fmt.Errorf("no answer within %s", p.limit)
	}
}
