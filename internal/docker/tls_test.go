package docker_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
)

// secured starts an engine on TCP that wants a client's certificate of the authority.
func secured(t *testing.T, a dockertest.Authority) *dockertest.Engine {
	t.Helper()
	dir := a.Issue(t)
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	if err != nil {
		t.Fatal(err)
	}
	return dockertest.Serve(t, listener)
}

func TestAnEngineBehindTLSIsUsedWithACertificate(t *testing.T) {
	ours := dockertest.NewAuthority(t)
	engine := secured(t, ours)
	engine.Hidden(dockertest.Container{ID: strings.Repeat("a", 64), Name: "web", Running: true, Records: []dockertest.Record{{Time: 1e18, Data: "hello\n"}}})
	t.Setenv("DOCKER_CERT_PATH", ours.Issue(t))
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	for _, host := range []string{engine.Host(), strings.Replace(engine.Host(), "tcp", "https", 1)} {
		client := newClient(t, host)
		list, err := client.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != "web" {
			t.Fatalf("%s: %+v, %v", host, list, err)
		}
		if got := read(t, client, list[0].ID, false, docker.LogOptions{Tail: 1}); len(got) != 1 {
			t.Errorf("%s: the log is %q", host, got)
		}
		// Open streams are still two goroutines each: no HTTP/2, no more of them for TLS.
		body, err := client.Logs(t.Context(), list[0].ID, docker.LogOptions{Follow: true})
		if err != nil {
			t.Fatal(err)
		}
		if n := client.StreamGoroutines(); n != 2 {
			t.Errorf("%d goroutines", n)
		}
		_ = body.Close()
	}
}

func TestAnEngineBehindTLSSaysWhatIsMissing(t *testing.T) {
	ours, theirs := dockertest.NewAuthority(t), dockertest.NewAuthority(t)
	engine := secured(t, ours)
	mixed := theirs.Issue(t) // a client's certificate that the engine does not accept
	if err := os.WriteFile(filepath.Join(mixed, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.Cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"no certificate":           "",
		"another authority":        theirs.Issue(t),
		"a stranger's certificate": mixed,
	} {
		t.Setenv("DOCKER_CERT_PATH", dir)
		t.Setenv("DOCKER_TLS_VERIFY", "1")
		client := newClient(t, engine.Host())
		_, err := client.Ping(t.Context())
		if !errors.Is(err, docker.ErrUnreachable) || !strings.Contains(err.Error(), "DOCKER_CERT_PATH") {
			t.Errorf("%s: %v", name, err)
		}
	}
	t.Setenv("DOCKER_CERT_PATH", t.TempDir())
	if _, err := docker.New(engine.Host()); err == nil || !strings.Contains(err.Error(), "DOCKER_CERT_PATH") {
		t.Errorf("a directory without certificates: %v", err)
	}
}

func TestAnHTTPSHostIsNeverSpokenToInTheClear(t *testing.T) {
	engine := secured(t, dockertest.NewAuthority(t))
	client := newClient(t, strings.Replace(engine.Host(), "tcp", "https", 1))
	if _, err := client.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("the server's certificate was not looked at: %v", err)
	}
}
