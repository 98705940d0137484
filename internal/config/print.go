package config

import (
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Print returns the configuration that the struct v holds as YAML, every key included.
// Secrets are masked, and so are passwords in URLs; all else can be read again and
// means the same.
func Print(v any) ([]byte, error) {
	node, err := encode(reflect.Indirect(reflect.ValueOf(v)))
	if err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	out, err := yaml.Dump(node)
	if err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	return out, nil
}

func encode(v reflect.Value) (*yaml.Node, error) {
	if variant, ok := asVariant(v); ok {
		return encodeVariant(variant)
	}
	if t, ok := asText(v); ok {
		text, err := t.MarshalText()
		return textNode(string(text)), err
	}
	switch v.Kind() {
	case reflect.Struct:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, f := range fieldsOf(v) {
			if err := appendPair(node, f.key, f.value); err != nil {
				return nil, err
			}
		}
		return node, nil
	case reflect.Map:
		node := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			if err := appendPair(node, key.String(), v.MapIndex(key)); err != nil {
				return nil, err
			}
		}
		return flowIfEmpty(node), nil
	case reflect.Slice:
		node := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			item, err := encode(v.Index(i))
			if err != nil {
				return nil, err
			}
			node.Content = append(node.Content, item)
		}
		return flowIfEmpty(node), nil
	case reflect.String:
		return textNode(maskURL(v.String())), nil
	}
	node := new(yaml.Node)
	return node, node.Encode(v.Interface())
}

// encodeVariant writes the type, then the settings.
func encodeVariant(v Variant) (*yaml.Node, error) {
	typ, settings := v.Selected()
	if settings == nil {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
	}
	node, err := encode(reflect.ValueOf(settings).Elem())
	if err != nil {
		return nil, err
	}
	head := []*yaml.Node{textNode("type"), textNode(typ)}
	node.Content = append(head, node.Content...)
	return node, nil
}

func appendPair(node *yaml.Node, key string, v reflect.Value) error {
	value, err := encode(v)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	// A key is not expanded when it is read.
	node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key}, value)
	return nil
}

func textNode(text string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: escapeEnv(text)}
}

func flowIfEmpty(node *yaml.Node) *yaml.Node {
	if len(node.Content) == 0 {
		node.Style = yaml.FlowStyle
	}
	return node
}

// maskURL hides the password of a URL that has one.
func maskURL(text string) string {
	if !strings.Contains(text, "://") || !strings.Contains(text, "@") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return text
	}
	password, has := u.User.Password()
	if !has || password == "" {
		return text
	}
	// By hand, since URL.String would escape the mask's asterisks.
	userinfo, _, _ := strings.Cut(text[strings.Index(text, "://")+3:], "@")
	user, _, _ := strings.Cut(userinfo, ":")
	return strings.Replace(text, userinfo, user+":"+units.Mask, 1)
}
