package main

import (
	"strings"
	"unicode/utf8"
)

// leastText is the width below which the last column of a table is not broken.
const leastText = 24

// align writes rows in columns. The last column is broken at spaces where the terminal is
// width columns wide; 0 = never. decorate may add colours to a padded cell.
func align(b *strings.Builder, rows [][]string, width int, decorate func(column int, cell string) string) {
	const gap = "  "
	wide := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			wide[i] = max(wide[i], utf8.RuneCountInString(cell))
		}
	}
	last, indent := len(wide)-1, 0
	for _, w := range wide[:last] {
		indent += w + len(gap)
	}
	room := width - indent
	if room < leastText {
		room = 0
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row[:last] {
			line.WriteString(decorate(i, cell+strings.Repeat(" ", wide[i]-utf8.RuneCountInString(cell))) + gap)
		}
		for i, part := range breakText(row[last], room) {
			if i > 0 {
				line.WriteString("\n" + strings.Repeat(" ", indent))
			}
			line.WriteString(decorate(last, part))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// breakText breaks text at spaces into lines of at most room columns, where it can; 0 = never.
func breakText(text string, room int) []string {
	if room <= 0 || utf8.RuneCountInString(text) <= room {
		return []string{text}
	}
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		at := &lines[len(lines)-1]
		switch {
		case *at == "":
			*at = word
		case utf8.RuneCountInString(*at)+1+utf8.RuneCountInString(word) <= room:
			*at += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}
