package app

import (
	"errors"
	"strings"

	"github.com/logcapturer/log_capturer/internal/config"
)

// ListenAddress returns where an agent with this configuration answers. It puts up with
// mistakes elsewhere in the file: an agent that refused to reload it answers all the same,
// and whoever watches it is not to take it for dead. Then err is given beside the address.
func ListenAddress(loader config.Loader, path string) (address string, err error) {
	c := DefaultConfig()
	if err = loader.Load(path, &c); err == nil {
		return c.Server.Listen, nil
	}
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		return "", err
	}
	for _, m := range mistakes {
		if m.Path == "" || m.Path == "server" || strings.HasPrefix(m.Path, "server.") {
			return "", err // the file could not be read at all, or not this part of it
		}
	}
	return c.Server.Listen, err
}
