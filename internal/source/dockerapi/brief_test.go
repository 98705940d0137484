package dockerapi

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/logcapturer/log_capturer/internal/position"
	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/source"
)

// A container that was created is looked at before it starts. When it is looked at again it
// has run and ended already, and stands still as before.
func TestARunThatBeganAndEndedBetweenTwoLooksIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := &answers{bodies: []io.Reader{frames(), frames(stored{0, noon, "one\n"}), frames(stored{0, noon, "one\n"})}, errs: []error{nil}}
		target := testTarget()
		still := *target.Container
		still.Running, still.Started = false, time.Time{}
		target.Container = &still
		r, _ := open(t, engine, target, position.Cursor{})
		if _, err := r.Next(t.Context()); !errors.Is(err, source.ErrIdle) {
			t.Fatal(err)
		}
		ran := still
		ran.Started = time.Now()
		target.Container = &ran
		r.Update(target)
		b, err := r.Next(t.Context())
		if err != nil || string(b.Line(0)) != "one" {
			t.Fatalf("the run's line was not read: error %v", err)
		}
		b.Done(record.Delivered)
		if _, err := r.Next(t.Context()); !errors.Is(err, source.ErrIdle) || len(engine.asked) != 2 {
			t.Errorf("asked %d times, error %v", len(engine.asked), err)
		}
	})
}
