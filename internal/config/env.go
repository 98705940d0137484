package config

import (
	"fmt"
	"strings"
)

// expandEnv fills in ${NAME} and ${NAME:-default}; the default also stands in for a
// variable that is set but empty, as in a shell. $$ is a dollar; any other dollar is
// itself. What a variable holds is not expanded again.
func expandEnv(text string, env Environment) (string, error) {
	if !strings.Contains(text, "$") {
		return text, nil
	}
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(after, "$"):
			b.WriteByte('$')
			text = after[1:]
		case strings.HasPrefix(after, "{"):
			inside, rest, closed := strings.Cut(after[1:], "}")
			if !closed {
				return "", fmt.Errorf("%s is not closed; write ${NAME}, or $$ for a dollar", quote("$"+after))
			}
			value, err := lookup(inside, env)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			text = rest
		default:
			b.WriteByte('$')
			text = after
		}
	}
}

// lookup returns what stands between the braces of one variable.
func lookup(inside string, env Environment) (string, error) {
	name, fallback, hasFallback := strings.Cut(inside, ":-")
	if !isName(name) {
		return "", fmt.Errorf("%s is no variable; write ${NAME} or ${NAME:-default}, or $$ for a dollar", quote("${"+inside+"}"))
	}
	if strings.Contains(fallback, "${") {
		return "", fmt.Errorf("the default of ${%s} has a variable in it; write a plain default", name)
	}
	value, set := env(name)
	if hasFallback && value == "" {
		return fallback, nil
	}
	if !set {
		return "", fmt.Errorf("the environment variable %s is not set; set it or write ${%s:-default}", name, name)
	}
	return value, nil
}

func isName(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}

// escapeEnv is the inverse of expandEnv.
func escapeEnv(text string) string {
	if strings.Contains(text, "${") || strings.Contains(text, "$$") {
		return strings.ReplaceAll(text, "$", "$$")
	}
	return text
}
