package health

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
)

func TestTheWorstComponentDecides(t *testing.T) {
	var b Board
	if got := b.Report(); got.Status != Healthy || got.Components == nil {
		t.Errorf("an empty board says %+v", got)
	}
	b.Set("b", Healthy, "")
	b.Set("a", Degraded, "away")
	if got := b.Report(); got.Status != Degraded || got.Components[0].Name != "a" || got.Components[0].Reason != "away" {
		t.Errorf("got %+v", got)
	}
	b.Set("c", Unhealthy, "broken")
	if got := b.Report(); got.Status != Unhealthy {
		t.Errorf("got %+v", got)
	}
}

func TestSinceChangesWithTheStatusOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Board
		b.Set("sink", Degraded, "one reason")
		began := time.Now()
		task.Sleep(t.Context(), time.Hour)
		b.Set("sink", Degraded, "another")
		if got := b.Report().Components[0]; !got.Since.Equal(began) || got.Reason != "another" {
			t.Errorf("got %+v, want since %v", got, began)
		}
		b.Set("sink", Healthy, "")
		if got := b.Report().Components[0]; got.Since.Equal(began) {
			t.Error("since did not change with the status")
		}
	})
}

func TestWhatIsPinnedIsShownUntilItIsNot(t *testing.T) {
	var b Board
	b.Pin("sink", Degraded, "off")
	b.Set("sink", Unhealthy, "down")
	if got := b.Report(); got.Status != Degraded || len(got.Components) != 1 || got.Components[0].Reason != "off" {
		t.Errorf("got %+v", got)
	}
	b.Unpin("sink")
	if got := b.Report(); got.Status != Unhealthy || got.Components[0].Reason != "down" {
		t.Errorf("got %+v", got)
	}
	b.Pin("sink", Degraded, "off")
	b.Remove("sink")
	if got := b.Report(); len(got.Components) != 0 {
		t.Errorf("got %+v", got)
	}
}
