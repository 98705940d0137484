package app

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/logcapturer/log_capturer/internal/"

// sources parses the shipped Go files, by path from the root of the repository.
func sources(t *testing.T) map[string]*ast.File {
	t.Helper()
	root, files, set := "../..", map[string]*ast.File{}, token.NewFileSet()
	for _, dir := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			files[filepath.ToSlash(rel)] = file
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 30 {
		t.Fatalf("found %d files only; is the walk right?", len(files))
	}
	return files
}

// A goroutine that no scope owns is how the predecessor leaked.
func TestGoStatementsStandInTaskAlone(t *testing.T) {
	for path, file := range sources(t) {
		if n := goStatements(file); n > 0 && !strings.HasPrefix(path, "internal/task/") {
			t.Errorf("%s has %d go statements; use task.Scope.Go", path, n)
		}
	}
}

// A ticker that nobody stops goes on for ever. Those of package ledger are counted.
func TestTickersStandInTheLedgerAlone(t *testing.T) {
	for path, file := range sources(t) {
		if n := tickers(file); n > 0 && !strings.HasPrefix(path, "internal/ledger/") {
			t.Errorf("%s makes %d tickers; use ledger.NewTicker", path, n)
		}
	}
}

func TestTheCheckSeesATicker(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() { t := time.NewTicker(1); <-time.Tick(1) }", 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := tickers(file); n != 2 {
		t.Fatalf("%d of 2 planted tickers were found", n)
	}
}

func tickers(file *ast.File) (n int) {
	ast.Inspect(file, func(node ast.Node) bool {
		call, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if pkg, ok := call.X.(*ast.Ident); ok && pkg.Name == "time" && (call.Sel.Name == "NewTicker" || call.Sel.Name == "Tick") {
			n++
		}
		return true
	})
	return n
}

func TestTheCheckSeesAGoStatement(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() { if true { go f() } }", 0)
	if err != nil {
		t.Fatal(err)
	}
	if goStatements(file) != 1 {
		t.Fatal("the planted go statement was not found")
	}
}

func goStatements(file *ast.File) (n int) {
	ast.Inspect(file, func(node ast.Node) bool {
		if _, ok := node.(*ast.GoStmt); ok {
			n++
		}
		return true
	})
	return n
}

// allowed is who may import whom of ours: the layers of docs/architecture.md.
var allowed = map[string][]string{
	"record":            nil,
	"task":              nil,
	"ledger":            nil,
	"leak":              {"health", "ledger", "sink/httpsink", "units"},
	"ledger/census":     {"ledger", "task"},
	"units":             nil,
	"multiline":         {"units"},
	"health":            nil,
	"metrics":           nil,
	"systemd":           {"task"},
	"ask":               nil,
	"position":          {"record", "ledger"},
	"replay":            {"position", "record"},
	"join":              {"multiline", "replay"},
	"source":            {"multiline", "record", "position", "shape"},
	"tail":              {"archive", "ledger", "record", "position", "source"},
	"source/jsonfile":   {"join", "ledger", "replay", "record", "position", "source", "tail"},
	"shape":             {"charset", "format/cri", "format/syslog", "format/timestamp", "multiline", "record", "units"},
	"source/file":       {"ledger", "record", "position", "shape", "source", "tail"},
	"source/journal":    {"charset", "ledger", "position", "record", "source"},
	"source/dockerapi":  {"join", "ledger", "replay", "record", "position", "source", "docker", "task"},
	"docker":            {"record", "ledger"},
	"docker/dockertest": {"docker"},
	"discover":          {"multiline", "record", "source", "docker", "format/cri", "shape", "units", "task"},
	"pool":              {"ledger", "record", "position", "source", "tail", "task"},
	"sink":              {"record", "units"},
	"sink/httpsink":     {"sink", "units", "ledger"},
	"sink/loki":         {"ledger", "record", "sink", "sink/httpsink", "wire", "units"},
	"sink/localfile":    {"ledger", "record", "sink", "units", "deadletter/ndjson"},
	"sink/sinktest":     {"record", "sink"},
	"wire":              {"record"},
	"spool":             {"ledger", "record"},
	"queue":             {"record", "spool"},
	"deadletter":        {"ledger", "record", "sink", "spool", "deadletter/ndjson"},
	"deadletter/ndjson": {"record"},
	"deadletter/office": {"record", "sink", "task", "deadletter", "ask"},
	"dispatch":          {"ledger", "record", "task", "health", "metrics", "queue", "spool", "deadletter", "sink", "units"},
	"canary":            {"record", "units"},
	"config":            {"units"},
	"diagnose":          {"ask", "ledger", "units"},
	"httpapi":           {"ledger", "source", "health", "units", "deadletter/office"},
	"format/timestamp":  nil,
	"format/cri":        {"format/timestamp", "record"},
	"format/syslog":     {"format/timestamp"},
	"charset":           nil,
	"archive":           nil,
	"doctor":            {"discover", "docker", "source", "source/journal", "task", "units", "sink/httpsink"},
}

func TestPackagesImportOnlyTheLayersBelow(t *testing.T) {
	for path, file := range sources(t) {
		pkg := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "internal/")
		rules, known := allowed[pkg]
		if pkg == "app" || strings.HasPrefix(pkg, "cmd/") {
			rules = nil
		} else if !known {
			t.Errorf("package %s has no line in the table of who may import whom", pkg)
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(imported, "github.com/moby/") && pkg != "docker" {
				t.Errorf("%s imports %s; only internal/docker may", path, imported)
			}
			ours, ok := strings.CutPrefix(imported, module)
			if !ok || pkg == "app" || strings.HasPrefix(pkg, "cmd/") {
				continue
			}
			if !contains(rules, ours) {
				t.Errorf("%s imports %s, which is not below it", path, ours)
			}
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}
