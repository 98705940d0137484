package diagnose

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/google/pprof/profile"
)

// mostProfile is the most that is read of a binary profile, in bytes. One of a million
// goroutines has less: those that are alike are one entry.
const mostProfile = 64 << 20

// protobuf reads a binary profile of goroutines.
func (p *parser) protobuf(in io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(in, mostProfile+1))
	if err != nil {
		return fmt.Errorf("the binary profile is damaged: %w", err)
	}
	if len(data) > mostProfile {
		return errors.New("the binary profile is larger than 64 MiB, which none of goroutines is")
	}
	prof, err := profile.ParseUncompressed(data)
	if err == nil {
		err = prof.CheckValid() // such as locations that are not there
	}
	if err != nil {
		return fmt.Errorf("the binary profile is damaged: %w", err)
	}
	if len(prof.SampleType) != 1 || !strings.HasPrefix(prof.SampleType[0].Type, "goroutine") {
		return errors.New("this is a profile of something else; give that of goroutines, /debug/pprof/goroutine")
	}
	p.form = formProfile
	for _, s := range prof.Sample {
		if len(s.Value) != 1 || s.Value[0] <= 0 || s.Value[0] > 1<<30 {
			continue
		}
		g := &goroutine{count: int(s.Value[0]), minutes: -1}
		if owner := s.Label["owner"]; len(owner) > 0 {
			g.owner = owner[0]
		}
		for _, at := range s.Location {
			for _, line := range at.Line {
				if line.Function != nil {
					g.add(line.Function.Name)
				}
			}
		}
		p.groups.add(g)
	}
	return nil
}
