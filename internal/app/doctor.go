package app

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/doctor"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
	"github.com/logcapturer/log_capturer/internal/sink/localfile"
	"github.com/logcapturer/log_capturer/internal/sink/loki"
)

// DoctorOptions are what doctor is asked for.
type DoctorOptions struct {
	// Config is the configuration's file, for the report.
	Config string
	// Sample is how long the containers' rates are sampled for.
	Sample time.Duration
	// Glob, if set, leaves out the containers whose names do not match.
	Glob string
}

// Doctor examines this host for the agent that cfg describes. It starts nothing, and
// leaves nothing behind.
func Doctor(ctx context.Context, cfg Config, info BuildInfo, opts DoctorOptions) (doctor.Report, error) {
	hostname, err := os.Hostname()
	if err != nil {
		return doctor.Report{}, fmt.Errorf("ask for the host's name: %w", err)
	}
	host := doctor.Host{
		Config: opts.Config, Hostname: hostname, Containers: cfg.ContainerMonitor, Files: cfg.FileMonitor, Journal: cfg.JournalMonitor,
		DataDir: cfg.DataDir, Listen: []string{cfg.Server.Listen}, SpoolMax: int64(cfg.Dispatcher.Spool.MaxBytes),
		Sample: opts.Sample, Glob: opts.Glob,
	}
	if cfg.Server.Pprof != "" {
		host.Listen = append(host.Listen, cfg.Server.Pprof)
	}
	own := ownFiles(cfg)
	host.Files.Exclude = append(host.Files.Exclude[:len(host.Files.Exclude):len(host.Files.Exclude)], own...)
	for _, name := range sinkNames(cfg.Sinks) {
		host.Sinks = append(host.Sinks, doctor.Sink{Name: name, Check: sinkCheck(name, cfg.Sinks[name], cfg.DataDir, info)})
	}
	return doctor.Examine(ctx, host), nil
}

// sinkCheck is the table of how to find out whether a sink would take lines.
func sinkCheck(name string, s Sink, dataDir string, info BuildInfo) func(context.Context) doctor.Finding {
	switch c := s.Settings.(type) {
	case *loki.Config:
		return lokiCheck(name, c, info)
	case *localfile.Config:
		fixed, _, _ := strings.Cut(strings.ReplaceAll(c.Path, "{data_dir}", dataDir), "{")
		return func(context.Context) doctor.Finding {
			return doctor.WritableDir(filepath.Dir(fixed+"x"), "sinks."+name+".path")
		}
	}
	return func(context.Context) doctor.Finding {
		return doctor.Finding{Level: doctor.OK, Found: "there is no check for sinks of type " + s.Type}
	}
}

// lokiCheck pushes a request without entries: Loki stores nothing of it, and its answer
// shows whether the address, the credentials and the tenant are right.
func lokiCheck(name string, c *loki.Config, info BuildInfo) func(context.Context) doctor.Finding {
	push := doctor.Push{
		Key:   "sinks." + name,
		Empty: []byte{0}, // an empty message, in snappy's block format
		Options: httpsink.Options{
			Auth: c.Auth, TLS: c.TLS, Timeout: c.Timeout.Std(), UserAgent: "log_capturer/" + info.Version,
		},
		Header: http.Header{"Content-Type": {"application/x-protobuf"}},
		Taken: func(status int, words string) bool {
			return (status == http.StatusBadRequest || status == http.StatusUnprocessableEntity) && strings.Contains(words, "at least one valid stream")
		},
	}
	if c.Tenant != "" {
		push.Header.Set("X-Scope-OrgID", c.Tenant)
	}
	return func(ctx context.Context) doctor.Finding {
		var err error
		if push.URL, err = url.Parse(c.URL); err != nil { // was validated; the error may have a password in it
			return doctor.Finding{Level: doctor.Fail, Found: "its url is none", Fix: "write it as http://loki:3100"}
		}
		if !strings.HasSuffix(push.URL.Path, "/push") {
			push.URL = push.URL.JoinPath(loki.PushPath)
		}
		return push.Check(ctx)
	}
}
