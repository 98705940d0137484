package config

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/invopop/jsonschema"
)

// SchemaOf returns the JSON Schema (draft 2020-12) of the struct v, whose values become
// the defaults. Types of their own describe themselves by a JSONSchema method.
func SchemaOf(v any) *jsonschema.Schema {
	r := jsonschema.Reflector{
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true, // no key is required
		Anonymous:                  true,
		DoNotReference:             true,
	}
	value := reflect.Indirect(reflect.ValueOf(v))
	schema := r.ReflectFromType(value.Type())
	schema.Version = ""
	addDefaults(schema, value)
	return schema
}

// Schema returns the JSON Schema of the struct v as indented JSON, with a title.
func Schema(v any, title string) ([]byte, error) {
	schema := SchemaOf(v)
	schema.Version = jsonschema.Version
	schema.Title = title
	out, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the JSON schema of %T: %w", v, err)
	}
	return append(out, '\n'), nil
}

// addDefaults notes what each key holds when the file does not set it.
func addDefaults(schema *jsonschema.Schema, v reflect.Value) {
	if schema.Properties == nil {
		return
	}
	for _, f := range fieldsOf(v) {
		property, ok := schema.Properties.Get(f.key)
		if !ok {
			continue
		}
		if _, text := asText(f.value); !text && f.value.Kind() == reflect.Struct {
			addDefaults(property, f.value)
			continue
		}
		property.Description = f.description
		property.Default = plain(f.value)
	}
}

// plain returns v as encoding/json writes it best.
func plain(v reflect.Value) any {
	if t, ok := asText(v); ok {
		text, err := t.MarshalText()
		if err != nil {
			return nil
		}
		return string(text)
	}
	switch {
	case v.Kind() == reflect.String:
		return v.String() // a named string type too
	case v.Kind() == reflect.Slice && v.Len() == 0:
		return []any{}
	case v.Kind() == reflect.Map && v.Len() == 0:
		return map[string]any{}
	case v.Kind() == reflect.Map:
		if _, variant := asVariant(reflect.Zero(v.Type().Elem())); variant {
			return nil
		}
	}
	return v.Interface()
}
