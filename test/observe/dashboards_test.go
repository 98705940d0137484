package observe

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
)

// There is no Grafana here to open them; this is what it would stumble over.
func TestDashboardsAreWhatGrafanaExpects(t *testing.T) {
	known := documented(t)
	uids, titles := map[string]string{}, map[string]string{}
	for _, d := range dashboards(t) {
		t.Run(d.UID, func(t *testing.T) {
			if before := uids[d.UID] + titles[d.Title]; before != "" || !regexp.MustCompile(`^[a-z-]{1,40}$`).MatchString(d.UID) {
				t.Errorf("uid %q and title %q are not its own, or no good ones", d.UID, d.Title)
			}
			uids[d.UID], titles[d.Title] = d.path, d.path
			if d.Description == "" || len(d.Links) == 0 || d.Links[0].Type != "dashboards" {
				t.Error("it has no description, or no links to the others")
			}
			var variables []string
			for _, v := range d.Templating.List {
				variables = append(variables, v.Name)
			}
			if want := []string{"datasource", "instance", "sink"}; !slices.Equal(variables, want) {
				t.Errorf("its variables are %q, want %q", variables, want)
			}
			for _, bad := range mistakes(d, known) {
				t.Error(bad)
			}
		})
	}
}

func TestMistakesInADashboardAreSeen(t *testing.T) {
	bad := dashboard{Panels: make([]panel, 2)}
	for i := range bad.Panels {
		p := &bad.Panels[i]
		p.ID, p.Type, p.Title = 1, "stat", "x"
		p.GridPos.X, p.GridPos.W, p.GridPos.H = 20, 5, 4
		p.Targets = []target{{Expr: "log_capturer_none"}}
	}
	// Each panel: outside, no description, no unit, its datasource, the target's, no
	// instance, an unknown metric. The second: its id and its place are taken, too.
	if got := mistakes(bad, documented(t)); len(got) != 16 {
		t.Errorf("%d mistakes were found, want 16: %q", len(got), got)
	}
}

func mistakes(d dashboard, known map[string]bool) (out []string) {
	say := func(p panel, format string, args ...any) {
		out = append(out, fmt.Sprintf("panel %d, %s: ", p.ID, p.Title)+fmt.Sprintf(format, args...))
	}
	ids, taken, bottom := map[int]bool{}, map[[2]int]int{}, 0
	for _, p := range d.Panels {
		if ids[p.ID] || p.ID < 1 {
			say(p, "its id is another's, too")
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X < 0 || g.Y < 0 || g.W < 1 || g.H < 1 || g.X+g.W > 24 {
			say(p, "it lies outside of the 24 columns: %+v", g)
		}
		overlaps := 0
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if taken[[2]int{x, y}] != 0 {
					overlaps = taken[[2]int{x, y}]
				}
				taken[[2]int{x, y}] = p.ID
			}
		}
		if overlaps != 0 {
			say(p, "it lies on panel %d", overlaps)
		}
		bottom = max(bottom, g.Y+g.H)
		if p.Type == "row" {
			continue
		}
		if p.Description == "" {
			say(p, "it has no description")
		}
		if p.FieldConfig.Defaults.Unit == "" {
			say(p, "it has no unit")
		}
		if p.Datasource == nil || p.Datasource.UID != "${datasource}" {
			say(p, "it does not use the variable datasource")
		}
		if len(p.Targets) == 0 {
			say(p, "it asks nothing")
		}
		for _, q := range p.Targets {
			if q.Datasource.UID != "${datasource}" {
				say(p, "query %s does not use the variable datasource", q.RefID)
			}
			if !regexp.MustCompile(`instance=~"\$instance"`).MatchString(q.Expr) {
				say(p, "query %s does not use the variable instance", q.RefID)
			}
			for _, name := range undocumented(q.Expr, known) {
				say(p, "docs/metrics.md does not have %s", name)
			}
		}
	}
	if area := bottom * 24; len(out) == 0 && len(taken) != area {
		out = append(out, fmt.Sprintf("there are gaps between the panels: %d of %d cells are covered", len(taken), area))
	}
	return out
}
