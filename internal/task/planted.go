//go:build plantedleaks

package task

import (
	"context"
	"os"
	"time"
)

// Planted is the environment variable that names the leak which an agent that was built with
// the tag plantedleaks has. It proves that the leak watch finds leaks; nothing of it is in
// what is shipped.
const Planted = "LOG_CAPTURER_PLANT"

// plantEvery is the time between two objects that leak.
const plantEvery = 500 * time.Millisecond

// Plant calls leak every half second in a task of the scope, until end does, if it is the
// kind of leak that was asked for.
func Plant(s *Scope, end context.Context, kind string, leak func()) {
	if os.Getenv(Planted) != kind {
		return
	}
	s.Go("planted", func(ctx context.Context) {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		defer context.AfterFunc(end, stop)()
		for Sleep(ctx, plantEvery) {
			leak()
		}
	})
}
