package config

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// validate asks every struct beneath v what is wrong with it, and looks at *_file keys.
func (d *decoder) validate(v reflect.Value, path string) {
	if _, text := asText(v); text {
		return
	}
	if variant, ok := asVariant(v); ok {
		if _, settings := variant.Selected(); settings != nil {
			d.validate(reflect.ValueOf(settings).Elem(), path)
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.ask(v, path)
		for _, f := range fieldsOf(v) {
			sub := join(path, f.key)
			if f.value.Kind() == reflect.String && strings.HasSuffix(f.key, "_file") {
				d.checkFile(f.value.String(), sub)
			}
			d.validate(f.value, sub)
		}
	case reflect.Slice:
		for i := range v.Len() {
			d.validate(v.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	case reflect.Map:
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			d.validate(v.MapIndex(key), join(path, key.String()))
		}
	}
}

// ask reports what a struct says of itself, at the key it speaks of.
func (d *decoder) ask(v reflect.Value, path string) {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	validator, ok := p.Interface().(Validator)
	if !ok {
		return
	}
	for _, e := range validator.Validate() {
		full := path
		if e.Path != "" {
			full = join(path, e.Path)
		}
		if !d.failed[full] {
			d.errs = append(d.errs, d.locate(full, e.Msg))
		}
	}
}

// locate makes an error at the key, or at the nearest key above that the file has.
func (d *decoder) locate(path, msg string) Error {
	e := Error{File: d.file, Path: path, Message: msg}
	if d.file == "" {
		return e
	}
	e.Line, e.Column = 1, 1
	for up := path; up != ""; up = up[:max(0, strings.LastIndexAny(up, ".["))] {
		if at, ok := d.at[up]; ok {
			e.Line, e.Column = at.line, at.column
			break
		}
	}
	return e
}

// checkFile reports a file that is named and cannot be used. It is read again by the
// component, whenever it needs it.
func (d *decoder) checkFile(name, path string) {
	if name == "" || d.failed[path] {
		return
	}
	if err := readable(name); err != nil {
		d.errs = append(d.errs, d.locate(path, "cannot read "+strconv.Quote(name)+": "+err.Error()))
	}
}

func readable(name string) error {
	info, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) {
		return errors.New("no such file; give one that exists, or leave the key empty")
	}
	if err != nil {
		return errors.New(reason(err).Error() + "; make it readable for this user")
	}
	if info.IsDir() {
		return errors.New("it is a directory; give a file")
	}
	if !info.Mode().IsRegular() {
		return nil // opening a pipe would wait for its writer and take its content
	}
	if info.Size() == 0 {
		return errors.New("the file is empty; write its content first")
	}
	f, err := os.Open(name)
	if err != nil {
		return errors.New(reason(err).Error() + "; make it readable for this user")
	}
	return f.Close()
}
