package units

import (
	"errors"
	"math/big"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// Sizes in bytes.
const (
	Byte Size = 1
	KiB       = 1024 * Byte
	MiB       = 1024 * KiB
	GiB       = 1024 * MiB
	TiB       = 1024 * GiB
	kB        = 1000 * Byte
	mB        = 1000 * kB
	gB        = 1000 * mB
	tB        = 1000 * gB
)

// Size is a number of bytes, written as 10MiB (1024²) or 1GB (1000³). A unit without
// B is decimal (512k = 512,000), as Docker's max-size; no unit means bytes.
type Size int64

// Int returns the number of bytes as an int.
func (s Size) Int() int { return int(s) }

var errSize = errors.New("expected a size such as 512KiB, 10MiB or 1GB")

// scale is one unit. All scales are listed binary before decimal, large before small.
type scale struct {
	name  string
	bytes Size
}

func scales() []scale {
	return []scale{
		{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
		{"TB", tB}, {"GB", gB}, {"MB", mB}, {"kB", kB},
	}
}

// ParseSize reads a size that is not negative. The case of the unit does not matter.
// A fraction is fine when it makes whole bytes: 1.5MiB.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimLeft(text, "0123456789.")
	number, unit := text[:len(text)-len(digits)], strings.TrimPrefix(digits, " ")
	bytes, ok := lookup(unit)
	if !ok || number == "" || len(number) > 32 || digits == " " {
		return 0, errSize
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, errSize
	}
	r.Mul(r, new(big.Rat).SetInt64(int64(bytes)))
	if !r.IsInt() || !r.Num().IsInt64() {
		return 0, errSize
	}
	return Size(r.Num().Int64()), nil
}

// lookup finds a unit: "", "B", "KiB", "Ki", "kB" or "k", in any case.
func lookup(unit string) (Size, bool) {
	if unit == "" || strings.EqualFold(unit, "B") {
		return Byte, true
	}
	for _, s := range scales() {
		if strings.EqualFold(unit, s.name) || strings.EqualFold(unit, strings.TrimSuffix(s.name, "B")) {
			return s.bytes, true
		}
	}
	return 0, false
}

// String returns the shortest exact form, binary units before decimal ones.
func (s Size) String() string {
	best := strconv.FormatInt(int64(s), 10) + "B"
	if s == 0 {
		return best
	}
	for _, u := range scales() {
		if s%u.bytes != 0 {
			continue
		}
		if form := strconv.FormatInt(int64(s/u.bytes), 10) + u.name; len(form) < len(best) {
			best = form
		}
	}
	return best
}

// MarshalText returns String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := ParseSize(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// JSONSchema describes the text form; a bare number of bytes is accepted too.
func (Size) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Title: "size",
		OneOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^(\d+\.?\d*|\.\d+) ?([KkMmGgTt][Ii]?)?[Bb]?$`},
			{Type: "integer", Minimum: "0"},
		},
		Examples: []any{"512KiB", "10MiB", "1GB"},
	}
}
