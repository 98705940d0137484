package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// position is a place in the file; both count from 1.
type position struct{ line, column int }

// decoder fills one struct from one document and gathers what is wrong.
type decoder struct {
	file string
	env  Environment
	errs Errors
	// at has the place of every key and list item that the file sets.
	at map[string]position
	// failed has the paths that an error was reported for while decoding: what
	// Validate says of their defaults would only confuse.
	failed map[string]bool
	// fatal is set when the document could not be parsed at all.
	fatal bool
}

func (d *decoder) fail(at position, path, format string, args ...any) {
	d.failed[path] = true
	d.errs = append(d.errs, Error{
		File: d.file, Line: at.line, Column: at.column, Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// wrong reports at the key (or list item) that the value of path is not what it must be.
func (d *decoder) wrong(n *yaml.Node, path, format string, args ...any) {
	at, ok := d.at[path]
	if !ok {
		at = position{n.Line, n.Column}
	}
	d.fail(at, path, format, args...)
}

// value decodes n into v, which holds the default. Null keeps the default.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	n = target(n)
	if isNull(n) {
		return
	}
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		d.wrong(n, path, "the tag %s has no meaning here; remove it", n.Tag)
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, text, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path, "")
	case reflect.Map:
		d.mapOf(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// mapping decodes into a struct; extra is one more known key, which is passed over.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path, extra string) {
	known := fieldsOf(v)
	d.pairs(n, path, func(key, value *yaml.Node, path string) {
		if key.Value == extra && extra != "" {
			return
		}
		for _, f := range known {
			if f.key == key.Value {
				d.value(value, f.value, path)
				return
			}
		}
		keys := make([]string, 0, len(known)+1)
		for _, f := range known {
			keys = append(keys, f.key)
		}
		if extra != "" {
			keys = append(keys, extra)
		}
		d.fail(position{key.Line, key.Column}, path, "unknown key; %s", suggest(key.Value, keys))
	})
}

// pairs calls fn for every key of a mapping, once, and notes where the key stands.
func (d *decoder) pairs(n *yaml.Node, path string, fn func(key, value *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		d.wrong(n, path, "got %s; expected settings, as key: value", d.describe(n))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := position{key.Line, key.Column}
		key = target(key)
		if key.Kind != yaml.ScalarNode {
			d.fail(at, path, "got %s as a key; expected a name", d.describe(key))
			continue
		}
		if key.Tag == "!!merge" {
			d.fail(at, path, "merge keys (<<) are not supported; write the keys out")
			continue
		}
		sub := join(path, key.Value)
		if line, twice := first[key.Value]; twice {
			d.fail(at, sub, "this key is given twice, first in line %d; keep one of them", line)
			continue
		}
		first[key.Value] = at.line
		d.at[sub] = at
		fn(key, value, sub)
	}
}

// mapOf replaces the map in v.
func (d *decoder) mapOf(n *yaml.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	d.pairs(n, path, func(key, value *yaml.Node, path string) {
		elem := reflect.New(v.Type().Elem()).Elem()
		switch variant, ok := elem.Addr().Interface().(Variant); {
		case ok:
			d.variant(target(value), variant, path, key.Value)
		case isNull(value):
			d.fail(d.at[path], path, `got nothing; expected a value (write "" for an empty one)`)
			return
		default:
			d.value(value, elem, path)
		}
		out.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), elem)
	})
	v.Set(out)
}

// list replaces the list in v.
// Defaulter is a list item that has defaults.
type Defaulter interface {
	// Default sets them.
	Default()
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.wrong(n, path, "got %s; expected a list, as [a, b]", d.describe(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.Content))
	for i, item := range n.Content {
		sub := path + "[" + strconv.Itoa(i) + "]"
		d.at[sub] = position{item.Line, item.Column}
		elem := reflect.New(v.Type().Elem()).Elem()
		if isNull(item) {
			d.fail(d.at[sub], sub, "got an empty list item; remove it")
			continue
		}
		if def, ok := elem.Addr().Interface().(Defaulter); ok {
			def.Default()
		}
		d.value(item, elem, sub)
		out = reflect.Append(out, elem)
	}
	v.Set(out)
}

// variant decodes a struct whose keys depend on its type; name is its key in the map.
func (d *decoder) variant(n *yaml.Node, v Variant, path, name string) {
	if n.Kind != yaml.MappingNode && !isNull(n) {
		d.wrong(n, path, "got %s; expected settings, as key: value", d.describe(n))
		return
	}
	typ, at := name, path
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "type" || isNull(n.Content[i+1]) {
			continue
		}
		at = join(path, "type")
		d.at[at] = position{n.Content[i].Line, n.Content[i].Column}
		text, ok := d.expand(n.Content[i+1], at)
		if !ok {
			return
		}
		typ = text
		break
	}
	if err := v.Select(typ); err != nil {
		d.wrong(n, at, "%v", err)
		return
	}
	if !isNull(n) {
		_, settings := v.Selected()
		d.mapping(n, reflect.ValueOf(settings).Elem(), path, "type")
	}
}

// target follows an alias.
func target(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
