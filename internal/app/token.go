package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// tokenFile is the file below data_dir with what the API asks for before it switches
// components: whoever may read it may do so.
const tokenFile = "api_token"

// tokenBytes is how much chance is in a token.
const tokenBytes = 32

// apiToken returns the token of the data directory. It is made when there is none, or none
// that is fit: of another form, or in reach of others.
func apiToken(dir string) (string, error) {
	path := filepath.Join(dir, tokenFile)
	if token, ok := readToken(path); ok {
		return token, nil
	}
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // never fails
	token := hex.EncodeToString(random)
	fresh := path + ".new"
	err := errors.Join(
		removeIfThere(fresh), // it could have other permissions
		os.WriteFile(fresh, []byte(token+"\n"), 0o600),
	)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		return "", fmt.Errorf("make the API's token %s: %w; data_dir must be a directory that this user may write to", path, err)
	}
	return token, nil
}

func readToken(path string) (token string, ok bool) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", false
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", false
	}
	token = strings.TrimSpace(string(text))
	raw, err := hex.DecodeString(token)
	return token, err == nil && len(raw) == tokenBytes
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
