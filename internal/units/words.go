package units

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes text from outside harmless for a terminal: what cannot be printed, the
// escape character and marks that reverse the direction of writing among it, is shown
// as \x1b or \u202e.
func Printable(text string) string {
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

// HumanBytes writes a number of bytes in decimal units, as Docker's max-size counts.
func HumanBytes(n float64) string {
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
