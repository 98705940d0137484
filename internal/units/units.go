// Package units holds the value types of the configuration as people write them:
// durations (5m, 7d), sizes (10MiB) and secrets, and how a component reports what
// is wrong with its own settings. It also shows foreign text and numbers to people.
//
// All types read and write text, so YAML, JSON and the command line agree; what they
// print can be read again and means the same. The package imports nothing of ours:
// every component's Config may use it.
package units

import (
	"fmt"
	"slices"
	"strings"
)

// FieldError is one mistake in a component's settings. A Config reports them by
//
//	func (c Config) Validate() []units.FieldError
//
// which whoever loads the configuration calls on every struct of it, nested ones
// included; a Validate therefore speaks of its own fields only. The caller adds file,
// line and column.
type FieldError struct {
	// Path is the YAML key relative to the struct, dot separated, list items by
	// index: "auth.basic.username", "include[2]". Empty means the struct as a whole.
	Path string
	// Msg says what is wrong and what would be right, split by a semicolon:
	// `"ftp" is no scheme for this; write http:// or https://`.
	Msg string
}

// Error returns path and message.
func (e FieldError) Error() string {
	if e.Path == "" {
		return e.Msg
	}
	return e.Path + ": " + e.Msg
}

// Errorf makes a FieldError.
func Errorf(path, format string, args ...any) FieldError {
	return FieldError{Path: path, Msg: fmt.Sprintf(format, args...)}
}

// OneOf returns a mistake unless value is one of the allowed words.
func OneOf(path, value string, allowed ...string) []FieldError {
	if slices.Contains(allowed, value) {
		return nil
	}
	words := strings.Join(allowed, ", ")
	if i := strings.LastIndex(words, ", "); i >= 0 {
		words = words[:i] + " or " + words[i+len(", "):]
	}
	return []FieldError{Errorf(path, "got %q; expected %s", value, words)}
}
