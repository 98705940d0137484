package config

import (
	"maps"
	"reflect"
	"slices"
)

// Diff returns the paths of the keys whose values differ between two configurations of
// one type, such as sinks.loki.url, sorted. What only one of them has is one path: that
// of a sink that was added, or of one whose type is another. The paths hold no values,
// so no secrets.
func Diff(a, b any) []string {
	return slices.Sorted(maps.Keys(diff(map[string]bool{}, "", reflect.Indirect(reflect.ValueOf(a)), reflect.Indirect(reflect.ValueOf(b)))))
}

func diff(found map[string]bool, path string, a, b reflect.Value) map[string]bool {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return found
	}
	if va, ok := asVariant(a); ok {
		vb, _ := asVariant(b)
		typeA, settingsA := va.Selected()
		typeB, settingsB := vb.Selected()
		if typeA == typeB && settingsA != nil && settingsB != nil {
			return diff(found, path, reflect.ValueOf(settingsA).Elem(), reflect.ValueOf(settingsB).Elem())
		}
	} else if _, leaf := asText(a); !leaf && a.Kind() == reflect.Struct {
		fields := fieldsOf(b)
		for i, f := range fieldsOf(a) {
			diff(found, join(path, f.key), f.value, fields[i].value)
		}
		return found
	} else if a.Kind() == reflect.Map {
		for _, key := range append(a.MapKeys(), b.MapKeys()...) {
			at := join(path, key.String())
			if va, vb := a.MapIndex(key), b.MapIndex(key); va.IsValid() && vb.IsValid() {
				diff(found, at, va, vb)
			} else {
				found[at] = true
			}
		}
		return found
	}
	found[path] = true
	return found
}
