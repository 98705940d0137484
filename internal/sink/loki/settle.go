package loki

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/logcapturer/log_capturer/internal/sink"
	"github.com/logcapturer/log_capturer/internal/sink/httpsink"
)

// The reasons of rejections: a metric label, so few.
const (
	reasonTooOld        = "too_old"
	reasonTooNew        = "too_new"
	reasonLineTooLong   = "line_too_long"  // for Loki's max_line_size
	reasonLineTooLarge  = "line_too_large" // for any request (413)
	reasonOutOfOrder    = "out_of_order"
	reasonInvalidLabels = "invalid_labels"
	reasonRejected      = "rejected"
)

// streak counts entries, one after the other, that were refused by themselves with the
// same words, which this sink does not know.
type streak struct {
	words string
	n     int
}

// enough is after how many of those the rest of the part is taken to be refused for
// the same reason. Without it a part of N entries could cost 2·N requests.
const enough = 8

// settle sends entries of one stream until Loki has answered for each of them: it is
// accepted, or it is added to s.rejected. An error leaves the rest unsettled.
func (s *Sink) settle(ctx context.Context, st *stream, refs []ref, odd *streak) error {
	s.push.Reset()
	s.encode(st, refs)
	result, err := s.post(ctx)
	if err != nil {
		if result.perStream {
			st.sharing.refused()
		}
		return err
	}
	switch result.verdict {
	case accepted:
		odd.n = 0
		s.settled = append(s.settled, refs)
		return nil
	case tooLarge:
		if len(refs) == 1 {
			s.reject(refs, reasonLineTooLarge, result.answer.Words(detailWords))
			return nil
		}
		return s.halves(ctx, st, refs, s.half(refs), false, odd)
	}
	return s.sort(ctx, st, refs, result.answer, odd)
}

// sort finds out which of refs a 400 is about, and sends again what it cannot tell.
func (s *Sink) sort(ctx context.Context, st *stream, refs []ref, answer *httpsink.Answer, odd *streak) error {
	words := parse(answer.Body, answer.Cut)
	if words.metadata && !st.bare && s.cfg.StructuredMetadata {
		st.bare = true
		s.warnMetadata(answer)
		return s.settle(ctx, st, refs, odd)
	}
	if words.wholeStream {
		s.reject(refs, reasonInvalidLabels, answer.Words(detailWords))
		return nil
	}
	if words.old.count > 0 && words.old.second > 0 {
		s.age.learn(time.Now(), words.old.second, words.old.detail)
	}
	picked, exact := s.pick(refs, words)
	for i, r := range refs {
		if picked[i] != nil {
			s.reject([]ref{r}, picked[i].reason, picked[i].detail)
		}
	}
	rest := make([]ref, 0, len(refs))
	for i, r := range refs {
		if picked[i] == nil {
			rest = append(rest, r)
		}
	}
	switch {
	case len(rest) == 0:
		return nil
	case exact:
		s.settled = append(s.settled, rest)
		return nil
	case len(rest) < len(refs):
		if words.ingester.reason != "" {
			// In the order of time its next answer, if there is one, tells of all.
			slices.SortStableFunc(rest, func(a, b ref) int { return cmp.Compare(s.time(a), s.time(b)) })
		}
		return s.settle(ctx, st, rest, odd)
	}
	return s.unknown(ctx, st, refs, answer, odd)
}

// unknown bisects a part that was refused with words that do not say what is refused.
func (s *Sink) unknown(ctx context.Context, st *stream, refs []ref, answer *httpsink.Answer, odd *streak) error {
	shape := withoutNumbers(answer.Words(detailWords))
	if shape != odd.words {
		odd.words, odd.n = shape, 0
	}
	if len(refs) == 1 || odd.n >= enough {
		odd.n++
		s.reject(refs, reasonRejected, answer.Words(detailWords))
		return nil
	}
	return s.halves(ctx, st, refs, len(refs)/2, true, odd)
}

// halves settles refs in two parts. Where some of refs is refused and all of the first
// part is accepted, the refused is known to be in the second, which then is not sent as
// a whole again: one refused entry of N is found by log₂N + 2 requests.
func (s *Sink) halves(ctx context.Context, st *stream, refs []ref, at int, someRefused bool, odd *streak) error {
	before := len(s.rejected)
	if err := s.settle(ctx, st, refs[:at], odd); err != nil {
		return err
	}
	second := refs[at:]
	if someRefused && len(second) > 1 && len(s.rejected) == before {
		return s.halves(ctx, st, second, len(second)/2, true, odd)
	}
	return s.settle(ctx, st, second, odd)
}

func (s *Sink) reject(refs []ref, reason, detail string) {
	for _, r := range refs {
		s.rejected = append(s.rejected, sink.Rejection{View: int(r.view), Entry: int(r.entry), Reason: reason, Detail: detail})
	}
	s.settled = append(s.settled, refs)
}

func (s *Sink) warnMetadata(answer *httpsink.Answer) {
	if s.warned {
		return
	}
	s.warned = true
	s.log.Warn("Loki does not take the structured metadata; entries are sent without it. Set structured_metadata: false, or allow it in Loki's limits_config",
		"url", s.client.URL(), "answer", answer.Words(errorWords))
}

// withoutNumbers returns text without its digits: what stays the same when Loki says
// the same of another entry.
func withoutNumbers(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, text)
}
