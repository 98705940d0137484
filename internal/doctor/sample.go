package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/logcapturer/log_capturer/internal/task"
)

const (
	// lookEvery is the time between two looks at a log: short, so that there is one
	// rotation at most between them.
	lookEvery = 25 * time.Millisecond
	// olderNames is how many rotated names are searched for the file of the last look.
	olderNames = 5
)

// growth measures how fast a log is written, by the sizes of its files.
type growth struct {
	path string
	// maxSize stands in for the last size of a file that was deleted or compressed
	// before it could be looked at again.
	maxSize int64

	last  os.FileInfo // nil before the first look
	bytes int64
	begin time.Time
	end   time.Time
	err   error
}

// sampleRates fills in the rates of the running containers whose json-file can be
// looked at; it takes as long as is asked for, unless there are none.
func sampleRates(ctx context.Context, length time.Duration, containers []Container) {
	samples := map[*Container]*growth{}
	for i := range containers {
		c := &containers[i]
		if c.Captured && c.Running && c.Driver == jsonFile && c.path != "" {
			samples[c] = &growth{path: c.path}
			if c.Rotation != nil {
				samples[c].maxSize = c.Rotation.MaxSize
			}
		}
	}
	if len(samples) == 0 {
		return
	}
	for end := time.Now().Add(length); ; {
		for _, g := range samples {
			g.look()
		}
		if !time.Now().Before(end) || !task.Sleep(ctx, min(lookEvery, time.Until(end))) {
			break
		}
	}
	for c, g := range samples {
		if rate, ok := g.rate(); ok {
			c.Rate = &rate
		}
	}
}

// look adds what was written since the last look.
func (g *growth) look() {
	info, err := os.Stat(g.path)
	if errors.Is(err, fs.ErrNotExist) && g.last != nil {
		return // between the two renames of a rotation
	}
	if err != nil {
		g.err = err
		return
	}
	g.end = time.Now()
	switch {
	case g.last == nil:
		g.begin = g.end
	case os.SameFile(g.last, info) && info.Size() >= g.last.Size():
		g.bytes += info.Size() - g.last.Size()
	default:
		g.bytes += g.rest() + info.Size()
	}
	g.last = info
}

// rest returns what was written between the last look and the beginning of the
// present file.
func (g *growth) rest() int64 {
	var between int64 // whole files
	for n := 1; n <= olderNames; n++ {
		info, err := os.Stat(g.path + "." + strconv.Itoa(n))
		if err != nil {
			break
		}
		// An inode number is given again at once: a smaller file is another one.
		if os.SameFile(g.last, info) && info.Size() >= g.last.Size() {
			return between + info.Size() - g.last.Size()
		}
		between += info.Size()
	}
	return max(0, g.maxSize-g.last.Size()) // which of the older ones are new is not known
}

// rate returns the bytes per second; false when it could not be measured.
func (g *growth) rate() (float64, bool) {
	took := g.end.Sub(g.begin)
	if g.err != nil || g.last == nil || took <= 0 {
		return 0, false
	}
	return float64(g.bytes) / took.Seconds(), true
}
