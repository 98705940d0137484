package localfile

import (
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Caps in bytes: a value in a name, and a whole component of a path. File systems take
// 255; what follows an ended file's name has to fit behind.
const (
	maxValue     = 100
	maxComponent = 200
)

// mark stands before the hash in a name that had to be changed. It is itself changed in
// every value, so no value can pretend to be another one that was.
const mark = '~'

// appendSafe appends value as a part of a file name: no separators, no control
// characters, no dot in front, capped. When that changes it a hash of the value follows,
// so that two values never become one name.
func appendSafe(dst []byte, value string) []byte {
	if value == "" {
		return append(dst, '_')
	}
	start := len(dst)
	changed := value == "_" // which is the name of the empty value
	for i, r := range value {
		n := utf8.RuneLen(r)
		if len(dst)-start+max(n, 1) > maxValue {
			changed = true
			break
		}
		if !safe(r) || r == '.' && i == 0 {
			changed = true
			r = '_'
		}
		dst = utf8.AppendRune(dst, r)
	}
	if !changed {
		return dst
	}
	return appendHash(dst, value)
}

func safe(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("._-@+=:,", r)
	}
	return r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsNumber(r))
}

// appendHash appends the mark and 48 bits of SHA-256: names come from outside, and a
// weaker sum would let their maker aim at another's file.
func appendHash(dst []byte, value string) []byte {
	sum := sha256.Sum256([]byte(value))
	dst = append(dst, mark)
	return hex.AppendEncode(dst, sum[:6])
}

// capComponent shortens the component of b that begins at start.
func capComponent(b []byte, start int) []byte {
	if len(b)-start <= maxComponent {
		return b
	}
	whole := string(b[start:])
	cut := start + maxComponent - 16
	for !utf8.RuneStart(b[cut]) {
		cut--
	}
	return appendHash(b[:cut], whole)
}

// stamp is the time in the name of an ended file: name-20060102T150405.n, and the
// compression's suffix.
const stamp = "20060102T150405"

var (
	rotatedName = regexp.MustCompile(`^(.+)-(\d{8}T\d{6})\.(\d+)(\.zst|\.gz)?(\.tmp)?$`)
	dates       = regexp.MustCompile(`\d{4}-\d\d-\d\d`)
)

// rotated is what the name of an ended file tells.
type rotated struct {
	base       string
	ended      time.Time
	compressed bool
	temporary  bool
}

func parseRotated(name string) (rotated, bool) {
	m := rotatedName.FindStringSubmatch(name)
	if m == nil {
		return rotated{}, false
	}
	ended, err := time.Parse(stamp, m[2])
	if err != nil || m[5] != "" && m[4] == "" {
		return rotated{}, false
	}
	return rotated{base: m[1], ended: ended, compressed: m[4] != "", temporary: m[5] != ""}, true
}
