package diagnose

import (
	"fmt"
	"strconv"
	"time"

	"github.com/logcapturer/log_capturer/internal/units"
)

// number writes with one digit behind the point, and without where it is 0.
func number(x float64) string {
	return strconv.FormatFloat(round(x), 'f', digits(x), 64)
}

func digits(x float64) int {
	if round(x) == 0 {
		return 0
	}
	return 1
}

// signed is number with its sign.
func signed(x float64) string {
	if round(x) > 0 {
		return "+" + number(x)
	}
	return number(x)
}

func count(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func size(x float64) string {
	if x < 0 {
		return "-" + units.HumanBytes(-x)
	}
	return units.HumanBytes(x)
}

// moment writes how long after the first census: T+0, T+1min, T+1min30s.
func moment(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second)).Round(100 * time.Millisecond)
	if d >= 10*time.Second {
		d = d.Round(time.Second)
	}
	minutes, rest := d/time.Minute, d%time.Minute
	switch {
	case d == 0:
		return "T+0"
	case minutes == 0:
		return "T+" + rest.String()
	case rest == 0:
		return fmt.Sprintf("T+%dmin", minutes)
	default:
		return fmt.Sprintf("T+%dmin%s", minutes, rest)
	}
}
