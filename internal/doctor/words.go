package doctor

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean makes text from outside harmless for a terminal: what cannot be printed, the
// escape character and marks that reverse the direction of writing among it, is shown
// as \x1b or \u202e.
func clean(text string) string {
	harmless := func(r rune) bool { return r == ' ' || unicode.IsPrint(r) && r != utf8.RuneError }
	if strings.IndexFunc(text, func(r rune) bool { return !harmless(r) }) < 0 {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if harmless(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteToASCII(text[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[size:]
	}
	return b.String()
}

// humanBytes writes a number of bytes in decimal units, as Docker's max-size counts.
func humanBytes(n float64) string {
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		switch {
		case n < 10 && unit != "B":
			return strings.TrimSuffix(fmt.Sprintf("%.1f", n), ".0") + " " + unit
		case n < 1000:
			return fmt.Sprintf("%.0f %s", n, unit)
		}
		n /= 1000
	}
	return fmt.Sprintf("%.0f PB", n)
}

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
