package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// humanTime writes a length of time with about two digits.
func humanTime(s float64) string {
	const minute, hour, day, year = 60, 3600, 86400, 365 * 86400
	switch {
	case s < 10:
		return strconv.FormatFloat(s, 'f', 1, 64) + "s"
	case s < 2*minute:
		return fmt.Sprintf("%.0fs", s)
	case s < 2*hour:
		return fmt.Sprintf("%.0fm", s/minute)
	case s < 2*day:
		return fmt.Sprintf("%.0fh", s/hour)
	case s < year:
		return fmt.Sprintf("%.0fd", s/day)
	}
	return "over a year"
}

// width is the columns that text takes, near enough.
func width(text string) int { return utf8.RuneCountInString(text) }

// pad fills text up with spaces.
func pad(text string, to int) string { return text + strings.Repeat(" ", max(0, to-width(text))) }

// shorten cuts text in its middle.
func shorten(text string, to int) string {
	runes := []rune(text)
	if len(runes) <= to {
		return text
	}
	half := (to - 1) / 2
	return string(runes[:to-1-half]) + "…" + string(runes[len(runes)-half:])
}

// wrap breaks text at spaces into lines of at most the width, where it can; 0 = never.
func wrap(text string, to int) []string {
	if to <= 0 || width(text) <= to {
		return []string{text}
	}
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && width(line)+1+width(word) > to {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// sampled writes how long the rates were sampled for.
func sampled(s float64) string { return time.Duration(s * float64(time.Second)).String() }
