package units

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "250ms": 250 * time.Millisecond, "5m": 5 * time.Minute, "1h30m": 90 * time.Minute,
		"1.5h": 90 * time.Minute, "7d": 7 * 24 * time.Hour, "1w": 7 * 24 * time.Hour,
		"1w2d3h": (9*24 + 3) * time.Hour, "10us": 10 * time.Microsecond,
	} {
		if got, err := ParseDuration(text); err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", text, got.Std(), err, want)
		}
	}
	for _, text := range []string{
		"", " ", "5", "-5m", "+5m", "5 m", "5x", "d", "1.5d", "1h2d", "1d1w", "1d1d", "1d-1h", "5M",
		"99999999999d", "106752d", "106751d23h59m", "9999999h", "１d",
	} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v; want an error", text, got)
		}
	}
}

func TestDurationString(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "1ns": 1, "250ms": 250 * time.Millisecond, "1.5s": 1500 * time.Millisecond, "5m": 5 * time.Minute,
		"20m": 20 * time.Minute, "1h": time.Hour, "10h": 10 * time.Hour, "1h30m": 90 * time.Minute,
		"1h0m5s": time.Hour + 5*time.Second, "1d": day, "7d": week, "1d12h": 36 * time.Hour, "-1m0s": -time.Minute,
	} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%d ns prints as %q; want %q", int64(d), got, want)
		}
	}
}

func TestDurationsSurvivePrinting(t *testing.T) {
	pattern := regexp.MustCompile(Duration(0).JSONSchema().Pattern)
	rapid.Check(t, func(t *rapid.T) {
		d := Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "ns"))
		got, err := ParseDuration(d.String())
		if err != nil || got != d {
			t.Fatalf("%d prints as %q, which reads as %d, %v", d, d, got, err)
		}
		if !pattern.MatchString(d.String()) {
			t.Fatalf("the schema refuses %q", d)
		}
	})
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "17": 17, "17B": 17, "512k": 512_000, "512K": 512_000, "512Ki": 512 << 10, "10MiB": 10 << 20,
		"10mib": 10 << 20, "10 MiB": 10 << 20, "1GB": 1_000_000_000, "1.5MiB": 3 << 19, ".5k": 500, "1TiB": 1 << 40,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "MiB", "-1", "+1", "1.3B", "1..2k", ".", "1e3", "0x10", "10  MiB", "10MiBs", "10bits", "9223372036854775808",
		"9999999999TiB", "1/2k", "1_000", " 1", "1 ", strings.Repeat("1", 1000),
	} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d; want an error", text, got)
		}
	}
}

func TestSizeString(t *testing.T) {
	for want, s := range map[string]Size{
		"0B": 0, "17B": 17, "1KiB": 1024, "1kB": 1000, "10MiB": 10 << 20, "1GB": 1_000_000_000, "512kB": 512_000,
		"1536KiB": 3 << 19, "1024kB": 1_024_000, "1025B": 1025, "-1MiB": -1 << 20,
	} {
		if got := s.String(); got != want {
			t.Errorf("%d prints as %q; want %q", int64(s), got, want)
		}
	}
}

func TestSizesSurvivePrinting(t *testing.T) {
	pattern := regexp.MustCompile(Size(0).JSONSchema().OneOf[0].Pattern)
	rapid.Check(t, func(t *rapid.T) {
		s := Size(rapid.Int64Range(0, math.MaxInt64/int64(TiB)).Draw(t, "n"))
		s *= rapid.SampledFrom([]Size{1, KiB, MiB, GiB, kB, mB, gB, tB}).Draw(t, "unit")
		got, err := ParseSize(s.String())
		if err != nil || got != s {
			t.Fatalf("%d prints as %q, which reads as %d, %v", s, s, got, err)
		}
		if !pattern.MatchString(s.String()) {
			t.Fatalf("the schema refuses %q", s)
		}
	})
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const plain = "hunter2"
	holder := struct {
		Password Secret `yaml:"password" json:"password"`
	}{NewSecret(plain)}
	var printed []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10s", "%T%v"} {
		args := []any{holder, &holder, holder.Password, &holder.Password, []Secret{holder.Password}}
		for _, arg := range args {
			printed = append(printed, fmt.Sprintf(verb, arg))
		}
	}
	asJSON, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Dump(holder)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "password", holder.Password, "holder", holder)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "password", holder.Password, "holder", holder)
	printed = append(printed, string(asJSON), string(asYAML), log.String(), holder.Password.String(), fmt.Errorf("x: %v", holder).Error())
	for _, text := range printed {
		if strings.Contains(text, plain) || strings.Contains(text, fmt.Sprintf("%x", plain)) {
			t.Errorf("the secret is in %q", text)
		}
	}
	if string(asJSON) != `{"password":"***"}` {
		t.Errorf("JSON is %s", asJSON)
	}
	if holder.Password.Reveal() != plain || holder.Password.IsZero() {
		t.Error("Reveal does not return the secret")
	}
	if empty := NewSecret(""); empty.String() != "" || !empty.IsZero() {
		t.Error("an empty secret looks like one that is set")
	}
}

func TestYAMLAndJSONReadWhatTheyWrite(t *testing.T) {
	type settings struct {
		D Duration `yaml:"d" json:"d"`
		S Size     `yaml:"s" json:"s"`
		P Secret   `yaml:"p" json:"p"`
	}
	var fromYAML, fromJSON settings
	if err := yaml.Load([]byte("d: 1d12h\ns: 10MiB\np: x\n"), &fromYAML); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{"d":"1d12h","s":"10MiB","p":"x"}`), &fromJSON); err != nil {
		t.Fatal(err)
	}
	want := settings{Duration(36 * time.Hour), 10 * MiB, NewSecret("x")}
	if fromYAML != want || fromJSON != want {
		t.Errorf("read %v and %v", fromYAML, fromJSON)
	}
	out, err := yaml.Dump(want)
	if err != nil || string(out) != "d: 1d12h\ns: 10MiB\np: '***'\n" {
		t.Errorf("wrote %q, %v", out, err)
	}
	if err := yaml.Load(out, &fromYAML); err == nil || !strings.Contains(err.Error(), "mask") {
		t.Errorf("the mask was taken for a secret: %v", err)
	}
}

func TestReadSecretFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	got, err := ReadSecretFile(write("good", " hunter2 \r\n"))
	if err != nil || got.Reveal() != "hunter2" {
		t.Errorf("read %q, %v", got.Reveal(), err)
	}
	for path, want := range map[string]string{
		write("blank", " \n"):                                "is empty",
		write("large", strings.Repeat("x", maxSecretFile+1)): "larger than",
		filepath.Join(dir, "none"):                           "no such file",
		dir:                                                  "is a directory",
	} {
		if _, err := ReadSecretFile(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v; want an error with %q", path, err, want)
		}
	}
}

func TestFieldErrors(t *testing.T) {
	if got := Errorf("a.b", "got %d; expected 1", 2).Error(); got != "a.b: got 2; expected 1" {
		t.Error(got)
	}
	if got := (FieldError{Msg: "wrong"}).Error(); got != "wrong" {
		t.Error(got)
	}
	if got := OneOf("a", "b", "b", "c"); got != nil {
		t.Error(got)
	}
	if got := OneOf("a", "x", "b", "c", "d"); len(got) != 1 || got[0].Msg != `got "x"; expected b, c or d` {
		t.Error(got)
	}
}
