package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/logcapturer/log_capturer/internal/units"
)

// isNull tells whether the file leaves a value out: nothing, ~ or null.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// expand returns the text of a scalar with its variables filled in.
func (d *decoder) expand(n *yaml.Node, path string) (string, bool) {
	n = target(n)
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, "got %s; expected a single value", d.describe(n))
		return "", false
	}
	text, err := expandEnv(n.Value, d.env)
	if err != nil {
		d.wrong(n, path, "%v", err)
		return "", false
	}
	return text, true
}

// text decodes a scalar into a type that reads itself from text. Its error must say
// what is expected.
func (d *decoder) text(n *yaml.Node, v encoding.TextUnmarshaler, path string) {
	text, ok := d.expand(n, path)
	if !ok {
		return
	}
	err := v.UnmarshalText([]byte(text))
	if err == nil {
		return
	}
	if _, secret := v.(*units.Secret); secret {
		d.wrong(n, path, "%v", err)
		return
	}
	d.wrong(n, path, "got %s; %v", quote(text), err)
}

// scalar decodes a scalar into text, a number or a boolean.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	want := expected(v)
	if n.Kind != yaml.ScalarNode {
		d.wrong(n, path, "got %s; expected %s", d.describe(n), want)
		return
	}
	if v.Kind() == reflect.String && n.Tag == "!!bool" {
		d.wrong(n, path, "got %s; expected text, so write it in quotes: %q", d.describe(n), n.Value)
		return
	}
	text, ok := d.expand(n, path)
	if !ok {
		return
	}
	// A quoted "5" is text; a quoted "${PORT}" is what the variable holds.
	if v.Kind() != reflect.String && n.Tag == "!!str" && text == n.Value {
		d.wrong(n, path, "got %s; expected %s", d.describe(n), want)
		return
	}
	switch err := setScalar(v, text); {
	case errors.Is(err, strconv.ErrRange):
		d.wrong(n, path, "got %s; expected %s of at most %d bits", quote(text), want, v.Type().Bits())
	case err != nil:
		d.wrong(n, path, "got %s; expected %s", quote(text), want)
	}
}

// setScalar parses text as the kind of v.
func setScalar(v reflect.Value, text string) error {
	switch {
	case v.Kind() == reflect.String:
		v.SetString(text)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return strconv.ErrSyntax
		}
		v.SetBool(text == "true")
	case v.CanInt():
		i, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetInt(i)
	case v.CanUint():
		u, err := strconv.ParseUint(text, 10, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetUint(u)
	case v.CanFloat():
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil {
			return err
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("a %s cannot be set", v.Type())
	}
	return nil
}

// expected names what a value must be.
func expected(v reflect.Value) string {
	switch {
	case v.Kind() == reflect.String:
		return "text"
	case v.Kind() == reflect.Bool:
		return "true or false"
	case v.CanUint():
		return "a whole number, not negative"
	case v.CanInt():
		return "a whole number"
	case v.CanFloat():
		return "a number"
	}
	return "nothing: this key cannot be set in a file"
}

// describe names what the file has.
func (d *decoder) describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
	default:
		return "something else"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return n.Value
	}
	return "the text " + quote(n.Value)
}

// quote shortens text that would make an error unreadable.
func quote(text string) string {
	const most = 80
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}
