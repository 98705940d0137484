//go:build plantedleaks

package discover

import "fmt"

// Hoard adds to a map that nothing is ever taken out of.
func (f *Files) Hoard(seen map[string][]byte, size int) {
	seen[fmt.Sprintf("/var/log/%d.log", len(seen))] = make([]byte, size)
}
