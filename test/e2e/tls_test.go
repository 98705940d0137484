package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
	"github.com/logcapturer/log_capturer/test/harness"
)

// An engine on TCP that wants a certificate, as a remote one does: its streams and polls
// lose nothing, and end where they began. Restarting it breaks their connections.
func TestAnEngineBehindTLS(t *testing.T) {
	authority := dockertest.NewAuthority(t)
	server, client := authority.Issue(t), authority.Issue(t)
	address := freeAddress(t)
	engine := harness.PrivateEngine(t, harness.EngineOptions{LiveRestore: true, Args: []string{
		"--host", "tcp://" + address, "--tlsverify",
		"--tlscacert", filepath.Join(server, "ca.pem"), "--tlscert", filepath.Join(server, "cert.pem"), "--tlskey", filepath.Join(server, "key.pem"),
	}})
	for _, read := range []string{"stream", "poll"} {
		t.Run(read, func(t *testing.T) {
			w := newWorld(t, engine, harness.Loki(t))
			w.host = "tcp://" + address
			w.agent = harness.StartAgentUnder(t, w.config(read, "", ""), "env", "DOCKER_TLS_VERIFY=1", "DOCKER_CERT_PATH="+client)
			w.ready()
			c := w.container(2000, harness.RunOptions{Args: []string{"-rate", "400", "-stderr-every", "3", "-gate", "1500"}})
			w.reached(0.3)
			engine.Restart(t)
			c.Open(t)
			c.Wait(t)
			w.ledger = harness.NewLedger() // dockerd may lose a line that it had read when it ends
			w.kept(c)
			w.ends("13: an engine on TCP behind TLS, restarted", time.Minute)
		})
	}
}

// freeAddress returns one of this machine that nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fmt.Sprint(l.Addr())
}
