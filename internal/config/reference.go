package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// Key is one row of the reference: a key that takes a value.
type Key struct {
	Path, Type, Default, Description string
}

// Reference lists every key of the struct v that takes a value, below prefix, in the
// order of the struct. The defaults are what v holds.
func Reference(v any, prefix string) []Key {
	return reference(reflect.Indirect(reflect.ValueOf(v)), SchemaOf(v), prefix)
}

func reference(v reflect.Value, schema *jsonschema.Schema, prefix string) []Key {
	var keys []Key
	for _, f := range fieldsOf(v) {
		path := join(prefix, f.key)
		property, ok := schema.Properties.Get(f.key)
		if !ok {
			continue
		}
		if _, text := asText(f.value); !text && f.value.Kind() == reflect.Struct {
			keys = append(keys, reference(f.value, property, path)...)
			continue
		}
		keys = append(keys, Key{
			Path: path, Type: typeName(property), Default: defaultText(f.value), Description: f.description,
		})
	}
	return keys
}

// typeName says what a person may write.
func typeName(s *jsonschema.Schema) string {
	switch {
	case len(s.Enum) > 0:
		words := make([]string, len(s.Enum))
		for i, word := range s.Enum {
			words[i] = fmt.Sprint(word)
		}
		return strings.Join(words, ", ")
	case s.Title != "":
		return s.Title
	case s.Type == "array" && s.Items != nil:
		return "list of " + typeName(s.Items)
	case s.Type == "object" && s.AdditionalProperties != nil && s.AdditionalProperties.Type != "":
		return "map of name to " + typeName(s.AdditionalProperties)
	case s.Type == "string":
		return "text"
	case s.Type == "boolean":
		return "true or false"
	case s.Type == "integer":
		return "whole number"
	}
	return s.Type
}

func defaultText(v reflect.Value) string {
	value := plain(v)
	if text, ok := value.(string); ok && text != "" {
		return text
	}
	out, err := json.Marshal(value)
	if err != nil || value == nil {
		return ""
	}
	return string(out)
}

// Markdown writes keys as a table.
func Markdown(keys []Key) string {
	cell := strings.NewReplacer("|", `\|`, "\n", " ")
	var b strings.Builder
	b.WriteString("| key | type | default | what it does |\n|---|---|---|---|\n")
	for _, k := range keys {
		value := ""
		if k.Default != "" {
			value = "`" + cell.Replace(k.Default) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", k.Path, cell.Replace(k.Type), value, cell.Replace(k.Description))
	}
	return b.String()
}
