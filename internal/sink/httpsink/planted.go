//go:build plantedleaks

package httpsink

import (
	"context"
	"net/http"
)

// ForgetBody asks the endpoint something and closes the answer's body never.
func (c *Client) ForgetBody(ctx context.Context) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return
	}
	_, _ = c.http.Do(req)
}
