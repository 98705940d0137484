//go:build !plantedleaks

package app

import (
	"github.com/logcapturer/log_capturer/internal/canary"
	"github.com/logcapturer/log_capturer/internal/discover"
	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/pool"
	"github.com/logcapturer/log_capturer/internal/source/file"
	"github.com/logcapturer/log_capturer/internal/task"
)

// What is shipped leaks nothing on purpose; planted.go does, to prove the leak watch.

func plantContainers(*task.Scope, *docker.Client, *pool.Pool) {}

func plantFiles(*task.Scope, *discover.Files, *pool.Pool, *file.Stats) {}

func plantCanary(*task.Scope, *canary.Canary, *task.Scope) {}
