package config

import (
	"encoding"
	"reflect"
	"strings"
)

// field is one key of a struct.
type field struct {
	key, description string
	// value is the field itself, settable when the struct is.
	value reflect.Value
}

// fieldsOf lists the keys of a struct in its order. Embedded structs and those tagged
// `yaml:",inline"` are listed as if their fields were the struct's own.
func fieldsOf(v reflect.Value) []field {
	var out []field
	for i := range v.NumField() {
		f := v.Type().Field(i)
		key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if key == "-" || !f.IsExported() {
			continue
		}
		if key == "" && f.Type.Kind() == reflect.Struct && (f.Anonymous || options == "inline") {
			out = append(out, fieldsOf(v.Field(i))...)
			continue
		}
		if key == "" {
			key = strings.ToLower(f.Name)
		}
		out = append(out, field{key: key, description: description(f.Tag), value: v.Field(i)})
	}
	return out
}

// description reads jsonschema_description:"…", or description=… of the jsonschema tag,
// in which a comma is written as \\, in the source.
func description(tag reflect.StructTag) string {
	if text := tag.Get("jsonschema_description"); text != "" {
		return text
	}
	parts := strings.Split(strings.ReplaceAll(tag.Get("jsonschema"), `\,`, "\x00"), ",")
	for _, part := range parts {
		if text, ok := strings.CutPrefix(part, "description="); ok {
			return strings.ReplaceAll(text, "\x00", ",")
		}
	}
	return ""
}

// asText returns v as a type that writes itself as text, such as units.Size.
func asText(v reflect.Value) (encoding.TextMarshaler, bool) {
	t, ok := v.Interface().(encoding.TextMarshaler)
	return t, ok
}

// asVariant returns v as a Variant. v need not be addressable.
func asVariant(v reflect.Value) (Variant, bool) {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	variant, ok := p.Interface().(Variant)
	return variant, ok
}
