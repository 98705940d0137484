package httpapi

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/logcapturer/log_capturer/internal/units"
)

// Config is server: where the agent answers.
type Config struct {
	Listen      string `yaml:"listen" jsonschema_description:"host:port for metrics, health and the API."`
	Pprof       string `yaml:"pprof" jsonschema_description:"host:port for Go's profiles, such as 127.0.0.1:6060; off when empty. Loopback only."`
	AllowRemote bool   `yaml:"allow_remote" jsonschema_description:"Permit a listen address that other hosts can reach. There is no authentication: whoever reaches it reads metrics and health, which name containers and files. Log text is served to this host alone, and nothing else can change anything."`
}

// DefaultConfig listens on this host alone.
func DefaultConfig() Config { return Config{Listen: "127.0.0.1:8001"} }

// Validate reports addresses that are none, or that would open the agent to others.
func (c Config) Validate() []units.FieldError {
	var errs []units.FieldError
	loopback, err := checkAddress(c.Listen)
	switch {
	case err != nil:
		errs = append(errs, units.Errorf("listen", "%v", err))
	case !loopback && !c.AllowRemote:
		errs = append(errs, units.Errorf("listen", "other hosts could reach %q; use 127.0.0.1, or set allow_remote: true beside it", c.Listen))
	}
	if c.Pprof == "" {
		return errs
	}
	loopback, err = checkAddress(c.Pprof)
	switch {
	case err != nil:
		errs = append(errs, units.Errorf("pprof", "%v", err))
	case !loopback:
		errs = append(errs, units.Errorf("pprof", "other hosts could reach %q, and profiles show what is in memory; use 127.0.0.1", c.Pprof))
	case c.Pprof == c.Listen && !strings.HasSuffix(c.Listen, ":0"):
		errs = append(errs, units.Errorf("pprof", "%q is the address of listen already; give another port", c.Pprof))
	}
	return errs
}

// checkAddress tells whether only this host can reach the address.
func checkAddress(address string) (loopback bool, err error) {
	if address == "" {
		return false, errors.New("no address; expected host:port, such as 127.0.0.1:8001")
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false, fmt.Errorf("%q is no address; expected host:port, such as 127.0.0.1:8001", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false, fmt.Errorf("%q has no port number; expected host:port with a port from 0 to 65535", address)
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback(), nil
}
