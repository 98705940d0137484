package podman

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/test/harness"
	"github.com/moby/moby/client"
)

func TestZZMeasure(t *testing.T) {
	e := harness.Podman(t)
	raw := func(c *harness.Container, o client.ContainerLogsOptions) []byte {
		o.ShowStdout, o.ShowStderr, o.Timestamps = true, true, true
		body, err := e.Client().ContainerLogs(t.Context(), c.ID, o)
		if err != nil {
			fmt.Println("ERR", err)
			return nil
		}
		defer body.Close()
		b, _ := io.ReadAll(body)
		return b
	}
	frames := func(b []byte) (out []string) {
		for len(b) >= 8 {
			n := int(b[4])<<24 | int(b[5])<<16 | int(b[6])<<8 | int(b[7])
			if len(b) < 8+n {
				break
			}
			out = append(out, fmt.Sprintf("%d %d %s nl=%v", b[0], n, b[8:min(8+n, 8+60)], b[8+n-1] == '\n'))
			b = b[8+n:]
		}
		return
	}
	for _, driver := range harness.PodmanDrivers {
		fmt.Println("=====", driver)
		c := e.Run(t, harness.RunOptions{Driver: driver, Args: []string{"-n", "5", "-rate", "2"}})
		c.Wait(t)
		time.Sleep(time.Second)
		all := frames(raw(c, client.ContainerLogsOptions{}))
		fmt.Println(strings.Join(all, ""))
		in, err := e.Client().ContainerInspect(t.Context(), c.ID, client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var stamps []string
		if p := in.Container.LogPath; p != "" {
			b, _ := os.ReadFile(p)
			fmt.Println("FILE", string(b))
			for _, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
				stamps = append(stamps, strings.Fields(l)[0])
			}
		}
		for _, s := range stamps[:min(2, len(stamps))] {
			at, err := time.Parse(time.RFC3339Nano, s)
			fmt.Println(s, err)
			for _, d := range []time.Duration{-1, 0, 1} {
				fmt.Println("since", d, "lines", len(frames(raw(c, client.ContainerLogsOptions{Since: at.Add(d).UTC().Format(time.RFC3339Nano)}))))
			}
		}
		// an unfinished line at the exit, and what a restart does
		u := e.Run(t, harness.RunOptions{Driver: driver, Entrypoint: []string{"/loggen"}, Args: []string{"-id", "x", "-n", "1", "-long-every", "1", "-long-bytes", "30000"}})
		u.Wait(t)
		time.Sleep(time.Second)
		fmt.Println("LONG")
		fmt.Println(strings.Join(frames(raw(u, client.ContainerLogsOptions{})), "\n"))
		tty := e.Run(t, harness.RunOptions{Driver: driver, TTY: true, Args: []string{"-n", "30", "-long-every", "3", "-long-bytes", "30000"}})
		tty.Wait(t)
		time.Sleep(time.Second)
		b := raw(tty, client.ContainerLogsOptions{})
		fmt.Println("TTY bytes", len(b))
		fmt.Printf("%q\n", b[:min(200, len(b))])
		last := 0
		for i := 0; i+21 <= len(b); i++ {
			if b[i+4] == '-' && b[i+7] == '-' && b[i+10] == 'T' && b[i+13] == ':' && b[i+16] == ':' && b[i+19] == 'Z' {
				nl := i == 0 || b[i-1] == '\n'
				fmt.Printf("[%d %d %s after %d nl=%v prev=%q]", i, b[i], b[i:i+20], i-last, nl, b[max(0, i-3):i])
				last = i
			}
		}
		fmt.Println()
	}
}
