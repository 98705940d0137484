package config

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// parse returns the root node of the one document, or nil when it is empty or wrong.
func (d *decoder) parse(data []byte) *yaml.Node {
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		d.syntax(err)
		return nil
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntax(err)
		}
		return nil
	}
	if err := loader.Load(&second); err == nil {
		d.fatal = true
		d.fail(position{second.Line, second.Column}, "", "a second YAML document starts here; keep one document, without --- in between")
		return nil
	} else if !errors.Is(err, io.EOF) {
		d.syntax(err)
		return nil
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 {
		return nil
	}
	return doc.Content[0]
}

// syntax reports what the YAML library refused; nothing else can be said of such a file.
func (d *decoder) syntax(err error) {
	d.fatal = true
	var many *yaml.LoadErrors
	if errors.As(err, &many) && len(many.Errors) > 0 {
		err = many.Errors[0]
	}
	var one *yaml.LoadError
	if !errors.As(err, &one) {
		d.fail(position{1, 1}, "", "not valid YAML: %s; write key: value, one a line", strings.TrimSpace(err.Error()))
		return
	}
	msg := one.Message
	if one.ContextMsg != "" {
		msg = one.ContextMsg + ": " + msg
	}
	at := position{one.Mark.Line, one.Mark.Column}
	switch {
	case at.line == 0: // the reader does not say where
		at = position{1, 1}
	case one.ContextMark.Line > 0 && strings.Contains(msg, "unexpected end of stream"):
		at = position{one.ContextMark.Line, one.ContextMark.Column} // where it began, not where the file ends
	}
	d.fail(at, "", "not valid YAML: %s; write key: value, one a line, indented by spaces", msg)
}
