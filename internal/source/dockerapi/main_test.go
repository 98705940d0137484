package dockerapi

import (
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
