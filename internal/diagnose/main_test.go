package diagnose

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// childVariable makes the test binary the process that is to be dumped.
const childVariable = "DIAGNOSE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		leak()
		fmt.Println("ready")
		select {}
	}
	goleak.VerifyTestMain(m)
}
