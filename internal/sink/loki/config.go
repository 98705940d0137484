package loki

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/record"
	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
	"github.com/logcapturer/log_capturer/internal/units"
)

// PushPath is Loki's path for log entries.
const PushPath = "/loki/api/v1/push"

// Config is the settings of a Loki sink.
type Config struct {
	sink.Common `yaml:",inline"`
	// URL is Loki's address, or the whole push URL.
	URL string `yaml:"url" jsonschema_description:"Address of Loki, such as http://loki:3100, or the whole push URL."`
	// Tenant is sent as X-Scope-OrgID; empty for a Loki without tenants.
	Tenant string `yaml:"tenant" jsonschema_description:"Tenant, sent as X-Scope-OrgID; empty for a Loki without tenants."`
	// Labels are added to every stream that has none of that name.
	Labels map[string]string `yaml:"labels" jsonschema_description:"Static labels, added to every stream that has none of that name."`
	// StructuredMetadata sends what belongs to an entry but is no label. A Loki that
	// refuses it gets the entries without.
	StructuredMetadata bool          `yaml:"structured_metadata" jsonschema_description:"Send what belongs to an entry but is no label as structured metadata. A Loki that refuses it gets the entries without."`
	Auth               httpsink.Auth `yaml:"auth" jsonschema_description:"How the agent shows who it is; at most one of the ways."`
	TLS                httpsink.TLS  `yaml:"tls" jsonschema_description:"How the connection is secured."`
	// Timeout is for one request, its connection included.
	Timeout units.Duration `yaml:"timeout" jsonschema_description:"Time limit of one request, its connection included; 100ms to 10m."`
	// MaxRequestBytes is the most that goes into one request, before compression. An
	// entry that is larger by itself is sent alone.
	MaxRequestBytes units.Size `yaml:"max_request_bytes" jsonschema_description:"The most that goes into one request, before compression; 64KiB to 64MiB. A larger entry is sent alone."`
}

// DefaultConfig returns settings for a Loki on this host. The request size stays below
// the 4 MiB of Loki's default grpc_server_max_recv_msg_size.
func DefaultConfig() Config {
	return Config{
		Common:             sink.DefaultCommon(),
		URL:                "http://127.0.0.1:3100",
		StructuredMetadata: true,
		Timeout:            units.Duration(10 * time.Second),
		MaxRequestBytes:    3 * units.MiB,
	}
}

// maxStaticLabels leaves room, among Loki's default of 15, for the streams' own.
const maxStaticLabels = 8

var (
	labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	// What Loki takes: https://grafana.com/docs/loki/latest/operations/multi-tenancy/
	tenantName = regexp.MustCompile(`^[a-zA-Z0-9!\-_.*'()]{1,150}$`)
)

// Validate reports what is wrong with the settings; auth and tls speak for themselves.
func (c Config) Validate() []units.FieldError {
	errs := c.Common.Validate()
	if _, err := endpoint(c.URL); err != nil {
		errs = append(errs, units.Errorf("url", "%v", err))
	}
	if c.Tenant != "" && (!tenantName.MatchString(c.Tenant) || c.Tenant == "." || c.Tenant == "..") {
		errs = append(errs, units.Errorf("tenant", "%q is no tenant of Loki; use 1 to 150 letters, digits and !-_.*'()", c.Tenant))
	}
	if len(c.Labels) > maxStaticLabels {
		errs = append(errs, units.Errorf("labels", "%d labels are too many, Loki takes 15 in all by default; keep at most %d", len(c.Labels), maxStaticLabels))
	}
	for name, value := range c.Labels {
		switch {
		case !labelName.MatchString(name) || strings.HasPrefix(name, "__") || len(name) > record.MaxLabelName:
			errs = append(errs, units.Errorf("labels."+name, "%q is no label name; use letters, digits and _, not a digit first, not __", name))
		case value == "" || record.CleanValue(value) != value:
			errs = append(errs, units.Errorf("labels."+name, "the value must not be empty, nor hold control characters or more than %d bytes", record.MaxLabelValue))
		}
	}
	if c.Timeout.Std() < 100*time.Millisecond || c.Timeout.Std() > 10*time.Minute {
		errs = append(errs, units.Errorf("timeout", "%s is out of range; use 100ms to 10m, for example 10s", c.Timeout))
	}
	if c.MaxRequestBytes < 64*units.KiB || c.MaxRequestBytes > 64*units.MiB {
		errs = append(errs, units.Errorf("max_request_bytes", "%s is out of range; use 64KiB to 64MiB, for example 3MiB", c.MaxRequestBytes))
	}
	slices.SortFunc(errs, func(a, b units.FieldError) int { return strings.Compare(a.Path, b.Path) })
	return errs
}

// endpoint returns the push URL for what the user wrote.
func endpoint(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		// The parser's error repeats the text, in which there may be a password.
		return nil, fmt.Errorf("this is no URL; write it as http://loki:3100")
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q is no scheme for this; write http:// or https://", u.Scheme)
	case u.Hostname() == "":
		return nil, fmt.Errorf("the host is missing; write it as http://loki:3100")
	case u.User != nil:
		return nil, fmt.Errorf("a user or password in the URL would be printed; put them into auth.basic")
	case u.Fragment != "":
		return nil, fmt.Errorf("a #fragment is never sent; remove it")
	}
	if !strings.HasSuffix(u.Path, "/push") {
		u.Path = strings.TrimRight(u.Path, "/") + PushPath
		u.RawPath = ""
	}
	return u, nil
}

// validateAll is Validate of the settings and of what is nested in them.
func (c Config) validateAll() error {
	errs := c.Validate()
	nested := func(prefix string, found []units.FieldError) {
		for _, e := range found {
			errs = append(errs, units.FieldError{Path: prefix + e.Path, Msg: e.Msg})
		}
	}
	nested("auth.", c.Auth.Validate())
	nested("auth.basic.", c.Auth.Basic.Validate())
	nested("tls.", c.TLS.Validate())
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}
