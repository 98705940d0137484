package httpsink

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Auth is how a sink shows who it is; at most one of the ways. The files are read
// again for every request, so a rotated secret needs no reload.
type Auth struct {
	Basic           Basic  `yaml:"basic" jsonschema_description:"HTTP basic authentication."`
	BearerTokenFile string `yaml:"bearer_token_file" jsonschema_description:"File that holds a bearer token."`
}

// Basic is HTTP basic authentication.
type Basic struct {
	Username     string `yaml:"username" jsonschema_description:"User name; needs password_file."`
	PasswordFile string `yaml:"password_file" jsonschema_description:"File that holds the password; needs username."`
}

// Validate reports settings that contradict each other.
func (a Auth) Validate() []units.FieldError {
	if a.BearerTokenFile != "" && a.Basic != (Basic{}) {
		return []units.FieldError{units.Errorf("bearer_token_file", "basic and bearer_token_file are both set; keep one of them")}
	}
	return nil
}

// Validate reports a half of a pair: half-configured authentication must not start.
func (b Basic) Validate() []units.FieldError {
	switch {
	case b.Username == "" && b.PasswordFile != "":
		return []units.FieldError{units.Errorf("username", "password_file is set without username; set both")}
	case b.Username != "" && b.PasswordFile == "":
		return []units.FieldError{units.Errorf("password_file", "username is set without password_file; set both")}
	case strings.Contains(b.Username, ":"):
		return []units.FieldError{units.Errorf("username", "a colon ends the username in HTTP basic authentication; write it without")}
	}
	return nil
}

// header returns the value of the Authorization header, or "".
func (a Auth) header() (string, error) {
	switch {
	case a.BearerTokenFile != "":
		token, err := units.ReadSecretFile(a.BearerTokenFile)
		if err != nil {
			return "", fmt.Errorf("auth.bearer_token_file: %w", err)
		}
		return "Bearer " + token.Reveal(), nil
	case a.Basic.Username != "":
		password, err := units.ReadSecretFile(a.Basic.PasswordFile)
		if err != nil {
			return "", fmt.Errorf("auth.basic.password_file: %w", err)
		}
		return "Basic " + basic(a.Basic.Username, password.Reveal()), nil
	}
	return "", nil
}

// TLS is how a sink makes sure of the other side, and shows its own certificate.
// The files are read again for every connection.
type TLS struct {
	CAFile             string `yaml:"ca_file" jsonschema_description:"File of PEM certificates that the server's certificate must lead to; empty means the system's."`
	CertFile           string `yaml:"cert_file" jsonschema_description:"The agent's own certificate, a PEM file; needs key_file."`
	KeyFile            string `yaml:"key_file" jsonschema_description:"The key of cert_file, a PEM file."`
	ServerName         string `yaml:"server_name" jsonschema_description:"The name that the server's certificate must have; empty means the URL's host."`
	InsecureSkipVerify bool   `yaml:"insecure_skip_verify" jsonschema_description:"Accept any certificate: whoever is in between can read and change everything."`
}

// Validate reports a half of a pair.
func (t TLS) Validate() []units.FieldError {
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		return []units.FieldError{units.Errorf("key_file", "cert_file is set without key_file; set both")}
	case t.CertFile == "" && t.KeyFile != "":
		return []units.FieldError{units.Errorf("cert_file", "key_file is set without cert_file; set both")}
	case t.CAFile != "" && t.InsecureSkipVerify:
		return []units.FieldError{units.Errorf("insecure_skip_verify", "with it ca_file is never looked at; remove one of them")}
	}
	return nil
}

// load reads the files. Host is the name to verify when server_name is not set.
func (t TLS) load(host string) (*tls.Config, error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: t.ServerName,
		// The user asked for it by name, and doctor and the log say so.
		InsecureSkipVerify: t.InsecureSkipVerify, //nolint:gosec
	}
	if cfg.ServerName == "" {
		cfg.ServerName = host
	}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca_file: %s holds no certificate in PEM form", t.CAFile)
		}
	}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file and key_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
