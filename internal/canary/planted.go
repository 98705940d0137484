//go:build plantedleaks

package canary

import "context"

type plantedKey struct{}

// ForgetCancel makes a context of one that lives for ever, and cancels it never: that one
// keeps it, and what is in it.
func (c *Canary) ForgetCancel(forever context.Context, size int) {
	ctx, cancel := context.WithCancel(context.WithValue(forever, plantedKey{}, make([]byte, size)))
	_, _ = ctx, cancel
}
