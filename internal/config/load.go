package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 4 << 20

// Loader reads configurations.
type Loader struct {
	// Env is where ${NAME} comes from; nil = the process's environment.
	Env Environment
}

// Load reads the file into the struct that into points to. An empty path means no
// file: the defaults alone are completed and validated. The error is Errors.
func (l Loader) Load(path string, into any) error {
	if path == "" {
		return l.Parse("", nil, into)
	}
	data, err := readFile(path)
	if err != nil {
		return Errors{{File: path, Message: err.Error()}}
	}
	return l.Parse(path, data, into)
}

// Parse is Load for text at hand; name stands in for the file in errors.
func (l Loader) Parse(name string, data []byte, into any) error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("load configuration %s: got a %T to fill, expected a pointer to a struct", name, into)
	}
	if l.Env == nil {
		l.Env = os.LookupEnv
	}
	d := &decoder{file: name, env: l.Env, at: map[string]position{}, failed: map[string]bool{}}
	if root := d.parse(data); root != nil {
		d.value(root, v.Elem(), "")
	}
	if d.fatal {
		return d.errs.sort()
	}
	if c, ok := into.(Completer); ok {
		c.Complete(l.Env)
	}
	d.validate(v.Elem(), "")
	if len(d.errs) > 0 {
		return d.errs.sort()
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errors.New("no such file; give an existing one, or none to run with the defaults")
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open the file: %w; make it readable for this user", reason(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the file: %w; give a YAML file", reason(err))
	}
	if len(data) > maxFile {
		return nil, errors.New("larger than 4MiB; that is no configuration file")
	}
	return data, nil
}

// reason strips operation and path, which stand in the error already.
func reason(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
