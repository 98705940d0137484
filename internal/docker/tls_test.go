package docker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/docker"
	"github.com/logcapturer/log_capturer/internal/docker/dockertest"
)

// authority is a certificate authority and what it signs.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a := authority{}
	a.cert, a.key = sign(t, template, template, nil)
	return a
}

func sign(t *testing.T, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// issue writes ca.pem, cert.pem and key.pem of a certificate for 127.0.0.1 to a directory.
func (a authority) issue(t *testing.T) (dir string) {
	t.Helper()
	cert, key := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, a.cert, a.key)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for name, block := range map[string]*pem.Block{
		"ca.pem":   {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert.Raw},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// secured starts an engine on TCP that wants a client's certificate of the authority.
func secured(t *testing.T, a authority) *dockertest.Engine {
	t.Helper()
	dir := a.issue(t)
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool,
	})
	if err != nil {
		t.Fatal(err)
	}
	return dockertest.Serve(t, listener)
}

func TestAnEngineBehindTLSIsUsedWithACertificate(t *testing.T) {
	ours := newAuthority(t)
	engine := secured(t, ours)
	engine.Hidden(dockertest.Container{ID: strings.Repeat("a", 64), Name: "web", Running: true, Records: []dockertest.Record{{Time: 1e18, Data: "hello\n"}}})
	t.Setenv("DOCKER_CERT_PATH", ours.issue(t))
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
	ours, theirs := newAuthority(t), newAuthority(t)
	engine := secured(t, ours)
	mixed := theirs.issue(t) // a client's certificate that the engine does not accept
	if err := os.WriteFile(filepath.Join(mixed, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{
		"no certificate":           "",
		"another authority":        theirs.issue(t),
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
	engine := secured(t, newAuthority(t))
	client := newClient(t, strings.Replace(engine.Host(), "tcp", "https", 1))
	if _, err := client.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "x509") {
		t.Errorf("the server's certificate was not looked at: %v", err)
	}
}
