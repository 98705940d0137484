package journal

import (
	"os"
	"testing"

	"github.com/logcapturer/log_capturer/test/harness"
)

func TestMain(m *testing.M) {
	if os.Getenv(orphan) != "" {
		beAnAgentThatIsKilled()
		return
	}
	harness.Main(m)
}
