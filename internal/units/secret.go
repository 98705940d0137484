package units

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/invopop/jsonschema"
)

// Mask is what a secret looks like wherever it is printed.
const Mask = "***"

// maxSecretFile bounds what is read of a file that holds a secret, in bytes.
const maxSecretFile = 64 << 10

// Secret is text that is never printed: every form of it, formatted, marshalled or
// logged, is Mask (or nothing, when it is empty). Reveal is the only way to the text.
type Secret struct{ text string }

// NewSecret wraps text.
func NewSecret(text string) Secret { return Secret{text} }

// Reveal returns the text.
func (s Secret) Reveal() string { return s.text }

// IsZero tells whether the secret is empty.
func (s Secret) IsZero() bool { return s.text == "" }

// String returns the mask.
func (s Secret) String() string {
	if s.text == "" {
		return ""
	}
	return Mask
}

// GoString returns the mask, for %#v.
func (s Secret) GoString() string { return fmt.Sprintf("units.Secret(%q)", s.String()) }

// Format prints the mask for every verb.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	_, _ = io.WriteString(f, text) // a fmt.State keeps its own error
}

// LogValue returns the mask, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns the mask, for YAML and JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes the text as it is. The mask itself is refused: it comes from a
// printed configuration, in which the secret is no longer there.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == Mask {
		return errors.New(`"***" is the mask of a printed configuration; write the secret, ${ENV_NAME}, or use the key's _file form`)
	}
	s.text = string(text)
	return nil
}

// JSONSchema describes the text form.
func (Secret) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Title: "secret", WriteOnly: true}
}

// ReadSecretFile returns the content of the file without white space at both ends. It
// is how a component reads its *_file settings, each time it needs them, so that a
// rotated secret is taken up. An empty file is an error.
func ReadSecretFile(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read the secret: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err != nil {
		return Secret{}, fmt.Errorf("read the secret: %w", err)
	}
	if len(data) > maxSecretFile {
		return Secret{}, fmt.Errorf("read the secret: %s is larger than 64KiB; it must hold the secret alone", path)
	}
	text := strings.TrimSpace(string(data))
	if text == "" {
		return Secret{}, fmt.Errorf("read the secret: %s is empty; write the secret into it", path)
	}
	return Secret{text}, nil
}
