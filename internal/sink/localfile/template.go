package localfile

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
)

const dataDir = "{data_dir}"

// template is a parsed path template: a fixed directory, and below it components that
// depend on the entry.
type template struct {
	dir        string
	components [][]piece
	date, hour bool
	patterns   []*regexp.Regexp // of the components' names
}

// piece is a literal, or a placeholder's name; arg is the label of {label:NAME}.
type piece struct{ literal, name, arg string }

// parseTemplate reads a template. Everything before the first component with a
// placeholder is the fixed directory.
func parseTemplate(text, data string) (*template, error) {
	rest, ok := strings.CutPrefix(text, dataDir)
	switch {
	case strings.Contains(rest, dataDir):
		return nil, errors.New("{data_dir} can only be at the beginning")
	case ok && !strings.HasPrefix(rest, "/"), !ok && !strings.HasPrefix(text, "/"):
		return nil, fmt.Errorf("%q is not absolute; begin it with / or with {data_dir}/", text)
	case strings.HasSuffix(text, "/"):
		return nil, fmt.Errorf("%q names a directory; end it with a file name such as {source}.log", text)
	}
	t := &template{dir: "/"}
	if ok {
		t.dir = data
	}
	components := strings.FieldsFunc(rest, func(r rune) bool { return r == '/' })
	fixed := true
	for i, component := range components {
		if component == "." || component == ".." {
			return nil, fmt.Errorf("%q goes through %q; write the path without it", text, component)
		}
		pieces, err := parsePieces(component)
		if err != nil {
			return nil, err
		}
		if fixed = fixed && i < len(components)-1 && len(pieces) == 1 && pieces[0].name == ""; fixed {
			t.dir = path.Join(t.dir, component)
			continue
		}
		pattern, err := regexp.Compile("^" + t.match(pieces) + "$")
		if err != nil {
			return nil, err
		}
		t.components = append(t.components, pieces)
		t.patterns = append(t.patterns, pattern)
	}
	return t, nil
}

// Globs returns globs of all files that a sink with a valid path template writes.
func Globs(text, data string) []string {
	t, err := parseTemplate(text, data)
	if err != nil {
		return nil
	}
	dir, name := globEscape(t.dir), ""
	for i, pieces := range t.components {
		name = ""
		for _, p := range pieces {
			if p.name == "" {
				name += globEscape(p.literal)
			} else {
				name += "*"
			}
		}
		if i < len(t.components)-1 {
			dir = path.Join(dir, name)
		}
	}
	open := path.Join(dir, name)
	all := []string{open, open + "-*"} // those that have ended
	if strings.Contains(name, "*") {
		all = append(all, path.Join(dir, "*~*")) // whose names had to be changed
	}
	return all
}

// globEscape has a text stand for itself in a glob.
func globEscape(text string) string {
	return globMeta.ReplaceAllString(text, `\$0`)
}

var globMeta = regexp.MustCompile(`[\*?\[\]{}]`)

// named tells whether a path below dir, or the beginning of one, can be this template's.
func (t *template) named(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) > len(t.patterns) {
		return false
	}
	for i, part := range parts {
		if !t.patterns[i].MatchString(part) {
			return false
		}
	}
	return true
}

func parsePieces(component string) (out []piece, err error) {
	for component != "" {
		if component[0] != '{' {
			end := strings.IndexByte(component, '{')
			if end < 0 {
				end = len(component)
			}
			literal := component[:end]
			if strings.ContainsFunc(literal, func(r rune) bool { return r < ' ' || r == 0x7f || r == '~' || r == '}' }) {
				return nil, fmt.Errorf("%q has a character that cannot be in a path here; leave out control characters, ~ and }", literal)
			}
			out, component = append(out, piece{literal: literal}), component[end:]
			continue
		}
		end := strings.IndexByte(component, '}')
		if end < 0 {
			return nil, fmt.Errorf("%q has no closing }", component)
		}
		p := piece{name: component[1:end]}
		p.name, p.arg, _ = strings.Cut(p.name, ":")
		switch p.name {
		case "date", "hour", "source", "kind", "stream":
			ok := p.arg == ""
			if !ok {
				return nil, fmt.Errorf("{%s} takes no argument", p.name)
			}
		case "label":
			if p.arg == "" {
				return nil, errors.New("{label} needs the label's name, such as {label:app}")
			}
		default:
			return nil, fmt.Errorf("there is no placeholder {%s}; expected {data_dir}, {date}, {hour}, {source}, {kind}, {stream} or {label:NAME}", p.name)
		}
		out, component = append(out, p), component[end+1:]
	}
	return out, nil
}

// match returns the regular expression of a component.
func (t *template) match(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		switch p.name {
		case "":
			b.WriteString(regexp.QuoteMeta(p.literal))
		case "date":
			t.date = true
			b.WriteString(`\d{4}-\d\d-\d\d`)
		case "hour":
			t.hour = true
			b.WriteString(`\d\d`)
		default:
			b.WriteString(`[^/]+`)
		}
	}
	return b.String()
}

// render returns the path, below dir, of the entries of one output of a source at a
// time (nanoseconds since the epoch).
func (t *template) render(src *record.Source, out record.Output, ns int64) string {
	b := make([]byte, 0, 128)
	for i, pieces := range t.components {
		if i > 0 {
			b = append(b, '/')
		}
		start := len(b)
		for _, p := range pieces {
			b = appendPiece(b, p, src, out, ns)
		}
		b = capComponent(b, start)
	}
	if _, rotated := parseRotated(path.Base(string(b))); rotated {
		b = append(b, '~', 'a') // it would be taken for an ended file
	}
	return string(b)
}

func appendPiece(b []byte, p piece, src *record.Source, out record.Output, ns int64) []byte {
	switch p.name {
	case "date":
		return time.Unix(0, ns).UTC().AppendFormat(b, "2006-01-02")
	case "hour":
		return time.Unix(0, ns).UTC().AppendFormat(b, "15")
	case "source":
		return appendSafe(b, src.Name)
	case "kind":
		return appendSafe(b, src.Kind)
	case "stream":
		return appendSafe(b, out.String())
	case "label":
		var value string
		if s := src.Streams[out]; s != nil {
			if value = s.Labels.Get(p.arg); value == "" {
				value = s.Metadata.Get(p.arg)
			}
		}
		return appendSafe(b, value)
	}
	return append(b, p.literal...)
}

// span returns the time around ns, from and to, in which a path does not change.
func (t *template) span(ns int64) (from, to int64) {
	step := int64(24 * time.Hour)
	switch {
	case t.hour:
		step = int64(time.Hour)
	case !t.date:
		return -1 << 63, 1<<63 - 1
	}
	from = ns - ns%step
	if ns%step < 0 {
		from -= step
	}
	return from, from + step
}
