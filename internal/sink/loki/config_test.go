package loki

import (
	"strings"
	"testing"
	"time"

	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
	"github.com/logcapturer/log_capturer/internal/units"
)

func TestDefaultConfigIsValid(t *testing.T) {
	if err := DefaultConfig().validateAll(); err != nil {
		t.Error(err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	cases := map[string]struct {
		change func(*Config)
		path   string
		says   string
	}{
		"no scheme":       {func(c *Config) { c.URL = "loki:3100" }, "url", "write http:// or https://"},
		"no host":         {func(c *Config) { c.URL = "http:///push" }, "url", "the host is missing"},
		"password in URL": {func(c *Config) { c.URL = "http://u:" + canary + "@loki" }, "url", "auth.basic"},
		"no URL":          {func(c *Config) { c.URL = "http://u:" + canary + "@[loki" }, "url", "http://loki:3100"},
		"tenant":          {func(c *Config) { c.Tenant = "a|b" }, "tenant", "use 1 to 150 letters"},
		"label name":      {func(c *Config) { c.Labels = map[string]string{"a-b": "x"} }, "labels.a-b", "no label name"},
		"label value":     {func(c *Config) { c.Labels = map[string]string{"a": ""} }, "labels.a", "must not be empty"},
		"many labels": {func(c *Config) {
			c.Labels = map[string]string{"a": "x", "b": "x", "c": "x", "d": "x", "e": "x", "f": "x", "g": "x", "h": "x", "i": "x"}
		}, "labels", "keep at most 8"},
		"timeout":      {func(c *Config) { c.Timeout = units.Duration(time.Hour) }, "timeout", "100ms to 10m"},
		"request size": {func(c *Config) { c.MaxRequestBytes = 1 }, "max_request_bytes", "64KiB to 64MiB"},
		"two ways": {func(c *Config) {
			c.Auth = httpsink.Auth{Basic: httpsink.Basic{Username: "u", PasswordFile: "f"}, BearerTokenFile: "g"}
		}, "auth.bearer_token_file", "keep one"},
		"half a way":       {func(c *Config) { c.Auth.Basic.Username = "u" }, "auth.basic.password_file", "set both"},
		"half a key pair":  {func(c *Config) { c.TLS.CertFile = "x" }, "tls.key_file", "set both"},
		"file not there":   {func(c *Config) { c.TLS.CAFile = "/nonexistent/ca.pem" }, "tls.ca_file", "no such file"},
		"secret not there": {func(c *Config) { c.Auth.BearerTokenFile = "/nonexistent/token" }, "auth.bearer_token_file", "no such file"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			_, err := New(cfg, sink.Deps{Name: "main"})
			if err == nil || !strings.Contains(err.Error(), `loki sink "main": `+c.path) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), canary) {
				t.Errorf("New: %v; want an error of %s that says %q", err, c.path, c.says)
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	for text, want := range map[string]string{
		"http://loki:3100":                        "http://loki:3100/loki/api/v1/push",
		"https://loki/":                           "https://loki/loki/api/v1/push",
		"http://loki:3100/loki/api/v1/push":       "http://loki:3100/loki/api/v1/push",
		"http://gw/logs/?org=1":                   "http://gw/logs/loki/api/v1/push?org=1",
		"https://vl:9428/insert/loki/api/v1/push": "https://vl:9428/insert/loki/api/v1/push",
	} {
		got, err := endpoint(text)
		if err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", text, got, err, want)
		}
	}
}
