package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/logcapturer/log_capturer/internal/ask"
	"github.com/logcapturer/log_capturer/internal/diagnose"
	"github.com/logcapturer/log_capturer/internal/units"
)

// tokenFile is where the agent puts what its switch asks for, below data_dir.
const tokenFile = "api_token"

func (o *diagnoseOptions) runIsolate(cmd *cobra.Command, dataDir string, agent *ask.Agent, p *diagnose.Printer) error {
	path := filepath.Join(dataDir, tokenFile)
	token, err := units.ReadSecretFile(path)
	if err != nil {
		return &failure{exitFailed, fmt.Errorf("%w; the running agent writes it: give its configuration, and run this as its user", err)}
	}
	remote := diagnose.Remote{Agent: agent.WithToken(token.Reveal())}
	if err := o.consent(cmd, remote); err != nil {
		return err
	}
	// A pipe that is closed, as head does, must not end the process while a component is
	// off, nor a second Ctrl-C: putting things back takes a few seconds, and is bounded.
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	tell := func(text string) {
		if !o.json {
			p.Line(text)
		}
	}
	isolation, err := diagnose.Isolator{Agent: remote, For: o.total, Tell: tell, Tick: p.Tick}.Run(ctx)
	if len(isolation.Base.Moved) == 0 && err != nil {
		return &failure{exitFailed, err}
	}
	printed := o.conclude(p, isolation, isolation.Verdict, func() { p.Isolation(isolation) })
	if len(isolation.StillOff) > 0 {
		return &failure{exitFailed, byHand(isolation.StillOff, path, agent.URL(), err)}
	}
	if err != nil {
		return &failure{exitFailed, err}
	}
	return printed
}

// consent says what will happen and, on a terminal, asks whether it may.
func (o *diagnoseOptions) consent(cmd *cobra.Command, agent diagnose.Agent) error {
	components, err := agent.Components(cmd.Context())
	if err != nil {
		return &failure{exitFailed, err}
	}
	var names []string
	for _, c := range components {
		if c.Running {
			names = append(names, c.Name)
		}
	}
	longest := units.Duration(o.total) * units.Duration(len(names)+2)
	w := cmd.ErrOrStderr()
	fmt.Fprintf(w, `This looks at the agent for %s as it is. If something grows, it then switches each of its
components off for %s, one at a time, and on again: %s.
It takes %s at most. Meanwhile what is off does not read or deliver; nothing is lost: files
wait, streams are asked again from where they were, what a sink is to get waits in its queue.
`, units.Duration(o.total), units.Duration(o.total), units.Printable(strings.Join(names, ", ")), longest)
	if o.yes {
		return nil
	}
	if !asks(cmd.InOrStdin()) {
		return &failure{exitUsage, errors.New("nothing was switched off; give --yes to do it")}
	}
	fmt.Fprint(w, "Go on? [y/N] ")
	answer, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	if err != nil || answer != "y" && answer != "yes" {
		return &failure{exitFailed, errors.New("nothing was switched off")}
	}
	return nil
}

// asks tells whether there is somebody who can answer: /dev/null cannot.
func asks(in io.Reader) bool {
	f, ok := in.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// byHand says how to switch on what could not be.
func byHand(names []string, token, base string, cause error) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%v; restart the agent (a component that is off is on again then), or switch it on by hand:", cause)
	for _, name := range names {
		fmt.Fprintf(&b, "\n  curl -X POST -H \"Authorization: Bearer $(cat %s)\" -H 'Content-Type: application/json' -d '{\"running\":true}' %s%s/%s", token, base, diagnose.PathComponents, name)
	}
	return errors.New(b.String())
}
