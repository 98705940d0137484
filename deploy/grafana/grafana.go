// Package grafana holds the dashboards of log_capturer as code. It owns their contents,
// layout and identities; the files in dashboards/ are written from it and are what people
// import. Every query of theirs is run against a real Prometheus in test/observe.
//
// `go test ./deploy/grafana -update` writes the files anew.
package grafana

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

const (
	tag          = "log_capturer"
	datasource   = "${datasource}"
	columns      = 24
	instanceOnly = `instance=~"$instance"`
	sinkToo      = instanceOnly + `,sink=~"$sink"`
)

// Dashboard is one dashboard: sections with rows of panels.
type Dashboard struct {
	// UID is part of its address and never changes; it is the file's name, too.
	UID, Title, Description string
	sections                []section
}

type section struct {
	title string
	rows  []row
}

// row is a run of panels of one height, whose widths add up to the 24 columns.
type row struct {
	height int
	panels []panel
}

// panel is what a dashboard says of one panel; what it leaves out has the kind's default.
type panel struct {
	kind    kind
	width   int
	title   string
	help    string
	unit    string
	queries []query
	// steps colour a value: green below the first, then yellow, then red.
	steps []float64
	// less: small values are the bad ones.
	less  bool
	stack bool
	max   float64 // of the axis; 0 = by the data
	names []name
}

type kind string

const (
	stat     kind = "stat"
	lines    kind = "timeseries"
	bars     kind = "bargauge"
	timeline kind = "state-timeline"
	table    kind = "table"
)

// query is PromQL in which @i stands for the selector of instances, @s for that of
// instances and sinks, and @r for the range that rates are taken over.
type query struct{ expr, legend string }

// name is what a value is called.
type name struct {
	value       int
	text, color string
}

var states = []name{{0, "healthy", "green"}, {1, "degraded", "yellow"}, {2, "unhealthy", "red"}}

// Dashboards returns all of them.
func Dashboards() []Dashboard {
	return []Dashboard{overview(), streams(), delivery(), resources(), leakWatch()}
}

// object is a JSON object; encoding/json sorts its keys, so equal ones have equal text.
type object map[string]any

// JSON returns the dashboard as Grafana imports it.
func (d Dashboard) JSON() ([]byte, error) {
	panels, err := d.panels()
	if err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", d.UID, err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(object{
		"uid": d.UID, "title": d.Title, "description": d.Description, "tags": []string{tag},
		"schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "timezone": "browser",
		"refresh": "30s", "time": object{"from": "now-1h", "to": "now"},
		"annotations": object{"list": []any{}},
		"links": []object{{
			"type": "dashboards", "title": "log_capturer", "tags": []string{tag}, "asDropdown": false,
			"includeVars": true, "keepTime": true, "targetBlank": false, "icon": "external link", "url": "", "tooltip": "",
		}},
		"templating": object{"list": []object{
			{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1, "hide": 0, "current": object{}, "multi": false, "includeAll": false, "options": []any{}, "regex": ""},
			variable("instance", "Agent", `label_values(log_capturer_goroutines, instance)`),
			variable("sink", "Sink", `label_values(log_capturer_sink_up{`+instanceOnly+`}, sink)`),
		}},
		"panels": panels,
	})
	return out.Bytes(), err
}

func variable(name, label, definition string) object {
	return object{
		"name": name, "label": label, "type": "query", "datasource": source(), "definition": definition,
		"query": object{"query": definition, "refId": "Variable-" + name}, "refresh": 2, "sort": 1, "hide": 0, "regex": "",
		"multi": true, "includeAll": true, "options": []any{},
		"current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}},
	}
}

func source() object { return object{"type": "prometheus", "uid": datasource} }

// panels lays the panels out from left to right and from top to bottom, without gaps.
func (d Dashboard) panels() ([]object, error) {
	var out []object
	id, y := 0, 0
	add := func(p object, x, w, h int) {
		id++
		p["id"], p["gridPos"] = id, object{"x": x, "y": y, "w": w, "h": h}
		out = append(out, p)
	}
	for _, s := range d.sections {
		add(object{"type": "row", "title": s.title, "collapsed": false, "panels": []any{}}, 0, columns, 1)
		y++
		for _, r := range s.rows {
			x := 0
			for _, p := range r.panels {
				add(p.object(), x, p.width, r.height)
				x += p.width
			}
			if x != columns {
				return nil, fmt.Errorf("section %q: a row is %d columns wide, want %d", s.title, x, columns)
			}
			y += r.height
		}
	}
	return out, nil
}

var placeholders = strings.NewReplacer("@i", instanceOnly, "@s", sinkToo, "@r", "$__rate_interval")

func (p panel) object() object {
	var targets []object
	for i, q := range p.queries {
		instant := p.kind == table || p.kind == bars
		t := object{
			"refId": string(rune('A' + i)), "datasource": source(), "expr": placeholders.Replace(q.expr),
			"legendFormat": q.legend, "instant": instant, "range": !instant, "editorMode": "code",
		}
		if p.kind == table {
			t["format"] = "table"
		}
		targets = append(targets, t)
	}
	defaults := object{"unit": p.unit, "thresholds": p.thresholds(), "color": object{"mode": "palette-classic"}}
	if p.kind != lines {
		defaults["color"] = object{"mode": "thresholds"}
	}
	if p.max > 0 {
		defaults["max"], defaults["min"] = p.max, 0
	}
	if len(p.names) > 0 {
		options := object{}
		for _, n := range p.names {
			options[fmt.Sprint(n.value)] = object{"text": n.text, "color": n.color, "index": n.value}
		}
		defaults["mappings"] = []object{{"type": "value", "options": options}}
	}
	if p.kind == lines {
		defaults["custom"] = p.drawing()
	}
	o := object{
		"type": string(p.kind), "title": p.title, "description": p.help, "datasource": source(), "targets": targets,
		"fieldConfig": object{"defaults": defaults, "overrides": []any{}}, "options": p.options(),
	}
	if p.kind == table {
		o["transformations"] = []object{{"id": "organize", "options": object{"excludeByName": object{"Time": true, "Value": true}}}}
	}
	return o
}

func (p panel) thresholds() object {
	colors := []string{"green", "yellow", "red"}
	if p.less {
		colors = []string{"red", "green"}
	} else if len(p.steps) == 1 {
		colors = []string{"green", "red"}
	}
	steps := []object{{"color": colors[0], "value": nil}}
	for i, s := range p.steps {
		steps = append(steps, object{"color": colors[i+1], "value": s})
	}
	return object{"mode": "absolute", "steps": steps}
}

func (p panel) drawing() object {
	stacking, fill, line := "none", 8, "off"
	if p.stack {
		stacking, fill = "normal", 40
	}
	if len(p.steps) > 0 {
		line = "dashed"
	}
	return object{
		"drawStyle": "line", "lineWidth": 1, "fillOpacity": fill, "showPoints": "never", "spanNulls": false,
		"stacking": object{"mode": stacking, "group": "A"}, "thresholdsStyle": object{"mode": line}, "axisSoftMin": 0,
	}
}

func (p panel) options() object {
	last := object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
	switch p.kind {
	case stat:
		return object{"reduceOptions": last, "colorMode": "value", "graphMode": "area", "textMode": "auto", "justifyMode": "auto", "orientation": "auto"}
	case bars:
		return object{"reduceOptions": last, "displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "valueMode": "color"}
	case timeline:
		return object{"showValue": "never", "mergeValues": true, "alignValue": "left", "rowHeight": 0.9, "legend": object{"displayMode": "list", "placement": "bottom", "showLegend": true}, "tooltip": object{"mode": "single"}}
	case table:
		return object{"showHeader": true, "cellHeight": "sm"}
	default:
		return object{
			"legend":  object{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []any{}},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	}
}
