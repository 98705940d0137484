// Package config reads the one YAML file of the agent into Go structs, strictly: an
// unknown key, a wrong type, a key given twice or a variable that is not set is an
// error with file, line and column that says what would be right. All errors of a
// file are reported at once.
//
// It knows no component. It works on structs whose fields carry `yaml:"key"` tags and
// hold the defaults; what the file does not set, or sets to null, keeps its default.
// A list or map in the file replaces the default one. From the same structs come the
// effective configuration (Print), the JSON Schema (Schema) and the reference
// (Reference).
//
// Text in values is expanded after parsing: ${NAME}, ${NAME:-default}, $$ for a dollar.
// Every string key that ends in _file must name a readable file that is not empty.
package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Error is one mistake in a configuration.
type Error struct {
	// File is as it was given; empty for mistakes in the built-in defaults.
	File string `json:"file"`
	// Line and Column count from 1; Column counts characters. Zero = not known.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path is the key, as in sinks.loki.url or file_monitor.include[2].
	Path string `json:"path"`
	// Message says what is wrong; what would be right.
	Message string `json:"message"`
}

// Error returns file:line:column: path: message.
func (e Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ":")
		if e.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", e.Line, e.Column)
		}
		b.WriteByte(' ')
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	return b.String() + e.Message
}

// Errors are all mistakes of one file, in its order. It is never empty where it is
// returned as an error.
type Errors []Error

// Error returns one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// sort puts the mistakes into the order of the file and drops repeats.
func (e Errors) sort() Errors {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return slices.Compact(e)
}

// Validator is implemented by structs that check their own fields. It is called on
// every struct, nested ones too, so each speaks of its own fields only.
type Validator interface {
	Validate() []units.FieldError
}

// Completer is implemented by a root struct that derives values from others or from
// the environment after the file was read and before it is validated.
type Completer interface {
	Complete(env Environment)
}

// Environment looks up a variable, as os.LookupEnv does.
type Environment func(name string) (value string, set bool)

// Variant is implemented by a pointer to a struct that stands in a map and whose keys
// depend on one of them, `type`, which defaults to its name in the map.
type Variant interface {
	// Select prepares the defaults of a type. The error says what is wrong; which
	// types there are.
	Select(typ string) error
	// Selected returns the type and a pointer to its settings, nil before Select.
	Selected() (typ string, settings any)
}
