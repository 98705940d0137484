package harness

import (
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

func TestPodmanRunsContainersWithBothDrivers(t *testing.T) {
	e := Podman(t)
	for _, driver := range PodmanDrivers {
		c := e.Run(t, RunOptions{Driver: driver, Args: []string{"-n", "5"}})
		c.Wait(t)
		var text string
		Eventually(t, 10*time.Second, driver+": five lines", func() (bool, string) {
			body, err := e.Client().ContainerLogs(t.Context(), c.ID, client.ContainerLogsOptions{ShowStdout: true})
			if err != nil {
				return false, err.Error()
			}
			defer body.Close()
			text = readAll(t, body)
			return strings.Count(text, "id="+c.Name+" seq=") == 5, text
		})
	}
}
