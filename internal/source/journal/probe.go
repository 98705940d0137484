package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Probe reads the last entry that is chosen, through the same journalctl and with the same
// arguments as a reader, and returns its time; zero when there is none that this user may
// read. It ends with ctx. The error has what journalctl said.
func (c Choice) Probe(ctx context.Context, command string) (last time.Time, err error) {
	path, err := find(command)
	if err != nil {
		return last, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var said limited
	cmd := exec.CommandContext(ctx, path, append([]string{"--lines=1"}, c.args(nil, 0, false)...)...) //nolint:gosec // configured
	cmd.Env, cmd.Stderr = environment(), &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return last, fmt.Errorf("read the journal: start %s: %w", path, err)
	}
	var e entry
	in := exported{r: bufio.NewReader(out), maxLine: 1}
	err = in.next(&e)
	if err == nil {
		cancel() // one is enough
	}
	how := cmd.Wait()
	switch {
	case err == nil:
		return time.Unix(0, e.time), nil
	case ctx.Err() != nil:
		return last, fmt.Errorf("read the journal: %s did not answer in time", path)
	case errors.Is(err, io.EOF) && how == nil && said.text == "":
		return last, nil
	case how == nil:
		how = err
	}
	return last, fmt.Errorf("read the journal: %s: %w: %s", path, how, strings.Join(strings.Fields(said.text), " "))
}

// limited keeps the beginning of what is written to it.
type limited struct{ text string }

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	l.text += string(p[:min(len(p), maxComplaint-len(l.text))])
	return len(p), nil
}
