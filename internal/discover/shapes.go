package discover

import (
	"fmt"
	"reflect"

	"github.com/logcapturer/log_capturer/internal/shape"
)

// Shapes is how the text of each log file becomes entries, ready for use. Those of one
// FileConfig are never changed.
type Shapes struct {
	config FileConfig
	plain  *shape.Shape
	rules  []*shape.Shape // of config.Rules
}

// Shapes makes them of valid settings. What is in before already, which may be nil, is taken
// over: so a reader can tell that nothing changed for its file.
func (c FileConfig) Shapes(before *Shapes) (*Shapes, error) {
	s := &Shapes{config: c, rules: make([]*shape.Shape, len(c.Rules))}
	var err error
	if s.plain, err = before.compile(c.Config, c); err != nil {
		return nil, fmt.Errorf("file_monitor: %w", err)
	}
	for i, r := range c.Rules {
		if s.rules[i], err = before.compile(r.Config, c); err != nil {
			return nil, fmt.Errorf("file_monitor.rules[%d]: %w", i, err)
		}
	}
	return s, nil
}

// compile returns the Shape of c, one that is there already if it is.
func (s *Shapes) compile(c shape.Config, of FileConfig) (*shape.Shape, error) {
	if s != nil && s.config.MaxLine == of.MaxLine {
		if reflect.DeepEqual(s.config.Config, c) {
			return s.plain, nil
		}
		for i, r := range s.config.Rules {
			if reflect.DeepEqual(r.Config, c) {
				return s.rules[i], nil
			}
		}
	}
	return c.Compile(of.MaxLine)
}

// of returns that of a file; nil, each line is an entry, where there are none.
func (s *Shapes) of(path string) *shape.Shape {
	if s == nil {
		return nil
	}
	if n := s.config.Rule(path); n >= 0 {
		return s.rules[n]
	}
	return s.plain
}
