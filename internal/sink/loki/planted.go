//go:build plantedleaks

package loki

import "context"

// ForgetBody leaks a connection.
func (s *Sink) ForgetBody(ctx context.Context) { s.client.ForgetBody(ctx) }
