package doctor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
)

// answerWords is how much of an answer's text is shown, in bytes.
const answerWords = 200

// Push is an endpoint that takes log entries over HTTP.
type Push struct {
	URL     *url.URL
	Options httpsink.Options
	Header  http.Header
	// Empty is a request without entries. Key is the sink's key in the configuration,
	// such as sinks.loki.
	Empty []byte
	Key   string
	// Taken tells whether an answer shows that only the entries were missing.
	Taken func(status int, words string) bool
}

// Check sends the request without entries, with the sink's own authentication and TLS,
// and judges the answer.
func (p Push) Check(ctx context.Context) Finding {
	p.Options.Timeout = min(p.Options.Timeout, reachTime-grace) // so that its own words come in time
	client, err := httpsink.New(p.URL, p.Options)
	if err != nil {
		return fail(err.Error(), "mend the file that "+p.Key+" names")
	}
	defer client.Close()
	answer, err := client.Post(ctx, p.Header, p.Empty)
	if err != nil {
		return fail(err.Error(), fmt.Sprintf("check that it runs and can be reached from this host, and %s.url; the agent spools until it answers", p.Key))
	}
	return p.judge(client.URL(), answer)
}

func (p Push) judge(shown string, answer *httpsink.Answer) Finding {
	words := answer.Words(answerWords)
	said := strings.TrimSpace(fmt.Sprintf("%s answers %d %s", shown, answer.Status, http.StatusText(answer.Status)))
	if answer.IsPage() {
		words = "a web page"
	}
	if words != "" {
		said += ": " + words
	}
	switch status := answer.Status; {
	case !answer.IsPage() && (status/100 == 2 || p.Taken(status, words)):
		found := shown + " takes entries"
		if p.Options.TLS.InsecureSkipVerify {
			return warn(found+", but its certificate is not verified", fmt.Sprintf("set %s.tls.ca_file and remove insecure_skip_verify", p.Key))
		}
		return ok(found)
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fail(said, fmt.Sprintf("check %s.auth and %s.tenant", p.Key, p.Key))
	case status == http.StatusTooManyRequests:
		return warn(said, "raise the limit at the other side; the agent tries again until its entries are taken")
	case status >= http.StatusInternalServerError:
		return fail(said, "see its log; it may still be starting, the agent spools until it answers")
	case status/100 == 3:
		return fail(said, fmt.Sprintf("set %s.url to where it leads; redirects are not followed", p.Key))
	}
	return fail(said, fmt.Sprintf("check %s.url: this does not seem to take log entries", p.Key))
}
