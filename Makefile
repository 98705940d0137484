# Everything that a person or a machine does with this tree has its target here.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Without a tag or a repository the version is what the Go module says.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w $(if $(VERSION),-X main.version=$(VERSION))
# git refuses a tree that another user owns; a build must not fail for that.
BUILDVCS := $(shell git rev-parse HEAD >/dev/null 2>&1 || echo -buildvcs=false)

GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

.PHONY: help demo test build lint bench bench-guard scenarios load soak endure leaks crash rotate sim clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## Capture three sample containers and a file, live; DEMO_FOR=30s ends it by itself
	@scripts/setup engine
	@$(MAKE) build
	@go build $(BUILDVCS) -o bin/demo ./demo
	@exec bin/demo -agent bin/log_capturer

test: ## Run all tests, with a real Docker engine and a real Loki; ARGS="-run X" is passed on
	@scripts/setup cc engine journal logrotate loki podman prometheus strace
	@scripts/test $(ARGS)

build: ## Build bin/log_capturer, static
	CGO_ENABLED=0 go build $(BUILDVCS) -trimpath -ldflags '$(LDFLAGS)' -o bin/log_capturer ./cmd/log_capturer

lint: ## Check format and code
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not gofmt'd:"; echo "$$out"; exit 1; fi
	go vet ./...
	go run $(GOLANGCI) run

bench: ## Compare the agent with its peers and the machine's limit, for hours; REPORT=FILE, ARGS="-scale 0.02 -rows A,E -agents promtail"; BENCH=Agent runs Go's benchmarks instead
ifdef BENCH
	go test -run '^$$' -bench '$(BENCH)' -benchtime $(or $(BENCHTIME),3x) -cpu 1 -timeout 60m ./bench/...
else
	@scripts/setup engine || echo "bench: there is no engine, so row F will say so" >&2
	@go run $(BUILDVCS) ./bench/compare $(if $(REPORT),-report $(abspath $(REPORT))) $(ARGS)
endif

bench-guard: ## Compare what a line costs, in memory and as a multiple of the machine's limit, with committed figures
	go test -count=1 -v ./bench/guard

scenarios: ## Run all end-to-end scenarios, faults of the engine too, for three quarters of an hour; REPORT=FILE gets a table
	@scripts/setup cc engine loki
	LOG_CAPTURER_STOPS=200 $(if $(REPORT),LOG_CAPTURER_RESULTS=$(abspath $(REPORT))) go test -race -tags scenarios -timeout 90m -count=1 ./test/e2e $(ARGS)

load: ## Run 300 containers and compare what each way to read costs; REPORT=FILE, ARGS="-containers 100 -for 1m"
	@scripts/setup engine
	go test -tags load -count=1 -timeout 2h -v -run '^Test(Load|Cost)' ./test/load -args $(if $(REPORT),-report $(abspath $(REPORT))) $(ARGS)

soak: ## Churn 50 containers among failing sinks and engine for SOAK=2h, count every line, look for what stays behind; REPORT=docs/soak.md
	@scripts/setup cc engine loki
	go test -count=1 -timeout 0 -v -run '^TestSoak$$' ./test/soak -args -for $(or $(SOAK),2h) $(if $(REPORT),-report $(abspath $(REPORT))) $(ARGS)

endure: ## Half an hour in 64 MB of memory beside a dead sink, ten minutes on a network that breaks, half an hour without the sink
	@scripts/setup cc engine loki
	LOG_CAPTURER_MEMORY_FOR=30m LOG_CAPTURER_NETWORK_FOR=10m LOG_CAPTURER_OUTAGE_FOR=30m go test -count=1 -timeout 2h -v -run '^Test(SixtyFour|TheNetwork|ALongOutage)' ./test/e2e $(ARGS)

leaks: ## Plant leaks and see that each is found, and that load up and down ten times is none; ARGS="-cycles 3"
	@scripts/setup engine
	go test -count=1 -timeout 2h -v ./test/leaks -args -cycles 10 -containers 50 $(ARGS)

crash: ## Break the disk beneath spool, positions and dead letters in every way there is; REPORT=FILE gets a table
	@scripts/setup strace
	LOG_CAPTURER_CRASH=full $(if $(REPORT),LOG_CAPTURER_RESULTS=$(abspath $(REPORT))) go test -count=1 -timeout 60m -v ./test/crash $(ARGS)

rotate: ## Have the real logrotate rotate a busy log in every mode, 50 times each (ROTATIONS=50), and count; REPORT=FILE gets a table
	@scripts/setup logrotate
	LOG_CAPTURER_ROTATIONS=$(or $(ROTATIONS),50) $(if $(REPORT),LOG_CAPTURER_RESULTS=$(abspath $(REPORT))) go test -count=1 -timeout 60m -v ./test/files -run TestLogrotate $(ARGS)

sim: ## Simulate the agent's core through days of faults, with fresh seeds; SIM=10m is how long, LOG_CAPTURER_SEED repeats one
	go test -count=1 -timeout 0 -v ./test/sim -run TestADayOfTrouble $(ARGS) -args $(if $(LOG_CAPTURER_SEED),,-wall $(or $(SIM),1m))

clean: ## Remove what was built here; the cache with Loki stays
	rm -rf bin
