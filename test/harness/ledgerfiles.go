package harness

import (
	"bufio"
	"fmt"
	"os"
)

// longestLine bounds a line that AddFile reads, in bytes.
const longestLine = 16 << 20

// AddFile counts the lines of a file, which is their stream. A last line without its
// newline counts too.
func (c *Count) AddFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("count lines: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 64<<10), longestLine)
	for lines.Scan() {
		c.Add(path, lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("count lines of %s: %w", path, err)
	}
	return nil
}
