package grafana

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the files in dashboards anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFilesAreUpToDate(t *testing.T) {
	all := Dashboards()
	if len(all) != 5 {
		t.Errorf("%d dashboards, want 5", len(all))
	}
	want := map[string]bool{}
	for _, d := range all {
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("dashboards", d.UID+".json")
		want[path] = true
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		have, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(have) != string(text) {
			t.Errorf("%s is not what the code says: go test ./deploy/grafana -update", path)
		}
	}
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if !want[path] {
			t.Errorf("%s is of no dashboard: remove it", path)
		}
	}
}

func TestARowWithAGapIsRefused(t *testing.T) {
	d := Dashboard{UID: "x", sections: []section{{"s", []row{{4, []panel{{kind: stat, width: 23}}}}}}}
	if _, err := d.JSON(); err == nil {
		t.Error("a row of 23 columns was taken")
	}
}
