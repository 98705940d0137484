package office

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logcapturer/log_capturer/internal/deadletter"
)

// some returns an office with letters of two sinks, three sources and two reasons.
func some(t *testing.T) *opened {
	o := open(t, t.TempDir(), roomy, "loki", "second")
	bury(t, o.boxes["loki"].Letters, "web-1", "too_old", 1, 5)
	bury(t, o.boxes["loki"].Letters, "web-2", "line_too_long", 1, 3)
	bury(t, o.boxes["loki"].Letters, "/var/log/a/b.log", "too_old", 1, 2)
	bury(t, o.boxes["second"].Letters, "web-1", "too_old", 7, 7)
	return o
}

func TestLettersAreCountedBySinkAndReason(t *testing.T) {
	o := some(t)
	for _, c := range []struct {
		filter Filter
		want   []string
	}{
		{Filter{}, []string{"loki line_too_long 3", "loki too_old 7", "second too_old 1"}},
		{Filter{Sink: "loki"}, []string{"loki line_too_long 3", "loki too_old 7"}},
		{Filter{Reason: "too_old"}, []string{"loki too_old 7", "second too_old 1"}},
		{Filter{Source: "web-*"}, []string{"loki line_too_long 3", "loki too_old 5", "second too_old 1"}},
		{Filter{Source: "/var/**"}, []string{"loki too_old 2"}},
		{Filter{Source: "/var/*"}, nil},
		{Filter{Sink: "second", Reason: "line_too_long"}, nil},
	} {
		listing, err := o.List(t.Context(), c.filter)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, counts(listing.Groups)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", c.filter, diff)
		}
	}
	listing, err := o.List(t.Context(), Filter{Sink: "second"})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 7).UTC()
	want := []Group{{Sink: "second", Reason: "too_old", Entries: 1, Bytes: o.boxes["second"].Letters.Bytes(), Oldest: at, Newest: at}}
	if diff := cmp.Diff(want, listing.Groups); diff != "" {
		t.Error(diff)
	}
	text, err := json.Marshal(Listing{groups{}.sorted()})
	if err != nil || string(text) != `{"groups":[]}` {
		t.Errorf("nothing is %s, %v", text, err)
	}
}

func TestShownAreTheFirst(t *testing.T) {
	o := some(t)
	shown, err := o.Show(t.Context(), Filter{Source: "web-*"}, 6)
	if err != nil || len(shown.Entries) != 6 || !shown.More {
		t.Fatalf("%d letters, more %v, %v; want 6 of 9", len(shown.Entries), shown.More, err)
	}
	if shown, err = o.Show(t.Context(), Filter{Source: "web-*"}, 9); err != nil || len(shown.Entries) != 9 || shown.More {
		t.Fatalf("%d letters, more %v, %v; want all 9", len(shown.Entries), shown.More, err)
	}
	want := append(texts("web-1", 1, 5), append(texts("web-2", 1, 3), "web-1 7")...)
	if diff := cmp.Diff(want, o.lines(t, Filter{Source: "web-*"})); diff != "" {
		t.Error(diff)
	}
}

func TestWhatCannotBeMeantIsRefused(t *testing.T) {
	o := some(t)
	for want, f := range map[error]Filter{ErrUnknown: {Sink: "lokki"}, ErrFilter: {Source: "[a"}} {
		_, list := o.List(t.Context(), f)
		_, show := o.Show(t.Context(), f, 1)
		_, replay := o.Replay(t.Context(), f, false)
		_, purge := o.Purge(t.Context(), f, false)
		for _, err := range []error{list, show, replay, purge} {
			if !errors.Is(err, want) {
				t.Errorf("%+v: %v, want %v", f, err, want)
			}
		}
	}
	if n := len(o.lines(t, Filter{})); n != 11 {
		t.Errorf("%d letters are left of 11", n)
	}
}

func TestPurgeRemovesWhatMatchesAndSaysSo(t *testing.T) {
	o := some(t)
	f := Filter{Sink: "loki", Reason: "too_old", Source: "web-*"}
	for _, dryRun := range []bool{true, false} {
		before := o.lines(t, Filter{})
		purged, err := o.Purge(t.Context(), f, dryRun)
		if err != nil || purged.DryRun != dryRun {
			t.Fatalf("%+v, %v", purged, err)
		}
		if diff := cmp.Diff([]string{"loki too_old 5"}, counts(purged.Groups)); diff != "" {
			t.Error(diff)
		}
		if dryRun && !slices.Equal(before, o.lines(t, Filter{})) {
			t.Error("a dry run removed something")
		}
	}
	want := append(texts("web-2", 1, 3), append(texts("/var/log/a/b.log", 1, 2), "web-1 7")...)
	if diff := cmp.Diff(want, o.lines(t, Filter{})); diff != "" {
		t.Error(diff)
	}
	if c := o.boxes["loki"].Counts(); c.Purged != 5 {
		t.Errorf("%+v, want 5 purged", c)
	}
	if _, err := o.Purge(t.Context(), Filter{}, false); err != nil || len(o.lines(t, Filter{})) != 0 {
		t.Errorf("purge everything: %v, %d left", err, len(o.lines(t, Filter{})))
	}
}

// Lines that are no letters are told, kept by a replay, and can be removed.
func TestDamagedLinesAreToldAndKept(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, roomy, "loki")
	bury(t, o.boxes["loki"].Letters, "web", "too_old", 1, 2)
	o.close()
	names, err := filepath.Glob(filepath.Join(dir, deadletter.Dir, "loki", "*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	f, err := os.OpenFile(names[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString("not a letter\n" + `{"torn`)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	o = open(t, dir, roomy, "loki")
	replayed, err := o.Replay(t.Context(), Filter{}, false)
	if err != nil || len(replayed.Sinks) != 1 || replayed.Sinks[0].Accepted != 2 || !replayed.Whole() {
		t.Errorf("%+v, %v", replayed, err)
	}
	listing, err := o.List(t.Context(), Filter{})
	if diff := cmp.Diff([]string{"loki damaged 1"}, counts(listing.Groups)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if purged, err := o.Purge(t.Context(), Filter{Reason: Damaged}, false); err != nil || len(purged.Groups) != 1 || o.boxes["loki"].Letters.Bytes() != 0 {
		t.Errorf("%+v, %v, %d bytes left", purged, err, o.boxes["loki"].Letters.Bytes())
	}
}

// A sink that was taken out of the configuration leaves its letters.
func TestLettersOfASinkThatIsNoMoreAreThere(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, roomy, "old")
	bury(t, o.boxes["old"].Letters, "web", "too_old", 1, 3)
	o.close()
	o = open(t, dir, roomy, "new")
	if got := o.lines(t, Filter{Sink: "old"}); len(got) != 3 {
		t.Fatalf("%d letters, want 3", len(got))
	}
	replayed, err := o.Replay(t.Context(), Filter{}, false)
	if err != nil || len(replayed.Sinks) != 1 || replayed.Sinks[0].NotSent != 3 || !strings.Contains(replayed.Sinks[0].Error, "no such sink") || replayed.Whole() {
		t.Errorf("%+v, %v", replayed, err)
	}
	if purged, err := o.Purge(t.Context(), Filter{Sink: "old"}, false); err != nil || purged.Groups[0].Entries != 3 {
		t.Errorf("%+v, %v", purged, err)
	}
}

func TestTheOfficeRemovesWhatIsTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := open(t, dir, roomy, "old")
		bury(t, o.boxes["old"].Letters, "web", "too_old", 1, 3)
		o.close()
		o = open(t, dir, roomy, "new") // old is not configured any more
		bury(t, o.boxes["new"].Letters, "web", "too_old", 1, 2)
		go o.Run(t.Context())
		time.Sleep(maxAge - time.Minute) //nolint:forbidigo // of the bubble's clock
		synctest.Wait()
		if n := len(o.lines(t, Filter{})); n != 5 {
			t.Errorf("%d letters a minute too early, want all 5", n)
		}
		time.Sleep(3 * time.Minute) //nolint:forbidigo // of the bubble's clock
		synctest.Wait()
		if n := len(o.lines(t, Filter{})); n != 0 {
			t.Errorf("%d letters are left", n)
		}
		for _, b := range o.Boxes() {
			if want := map[string]int64{"old": 3, "new": 2}[b.Name]; b.Letters.Stats().Expired != want {
				t.Errorf("%s: %+v, want %d expired", b.Name, b.Letters.Stats(), want)
			}
		}
	})
}
