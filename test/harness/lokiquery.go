package harness

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pageLimit is the most entries that Loki gives in one answer by default
// (max_entries_limit_per_query).
const pageLimit = 5000

// Stream is a labelled stream with its entries, in order.
type Stream struct {
	Labels  map[string]string
	Entries []Entry
}

// Key returns the labels as {a="b", c="d"}.
func (s Stream) Key() string {
	keys := make([]string, 0, len(s.Labels))
	for k, v := range s.Labels {
		keys = append(keys, fmt.Sprintf("%s=%q", k, v))
	}
	slices.Sort(keys)
	return "{" + strings.Join(keys, ", ") + "}"
}

// Entry is one log entry.
type Entry struct {
	// Time is nanoseconds since the Unix epoch.
	Time     int64
	Line     string
	Metadata map[string]string
}

// Query returns all entries from start (inclusive) to end (exclusive) that match
// logql, streams ordered by their labels. It pages, and neither loses nor doubles
// entries that share a timestamp at a page's border. Loki adds the label
// service_name and the metadata detected_level by itself.
func (l *LokiServer) Query(ctx context.Context, logql string, start, end time.Time) ([]Stream, error) {
	all := map[string]*Stream{}
	from := start.UnixNano()
	border := map[string]int{} // what was taken already of the entries whose time is from
	for {
		page, err := l.page(ctx, logql, from, end.UnixNano())
		if err != nil {
			return nil, err
		}
		last, size := from, 0
		for _, s := range page {
			size += len(s.Entries)
			for _, e := range s.Entries {
				last = max(last, e.Time)
			}
		}
		if size == pageLimit && last == from {
			return nil, fmt.Errorf("query %s: more than %d entries share the timestamp %d: ask for fewer streams", logql, pageLimit, last)
		}
		next := map[string]int{}
		for _, s := range page {
			key := s.Key()
			have := all[key]
			if have == nil {
				have = &Stream{Labels: s.Labels}
				all[key] = have
			}
			for _, e := range s.Entries {
				what := ""
				if e.Time == from || e.Time == last {
					what = fmt.Sprint(key, e.Line, e.Metadata) // a map prints in the order of its keys
				}
				if e.Time == last {
					next[what]++
				}
				if e.Time == from && border[what] > 0 {
					border[what]--
					continue
				}
				have.Entries = append(have.Entries, e)
			}
		}
		if size < pageLimit {
			return ordered(all), nil
		}
		from, border = last, next
	}
}

func ordered(all map[string]*Stream) []Stream {
	out := make([]Stream, 0, len(all))
	for _, s := range all {
		// Loki may answer with one stream in several parts, by the entries' metadata.
		slices.SortStableFunc(s.Entries, func(a, b Entry) int { return cmp.Compare(a.Time, b.Time) })
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Stream) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

// page returns the first pageLimit entries from start to end.
func (l *LokiServer) page(ctx context.Context, logql string, start, end int64) ([]Stream, error) {
	body, err := l.get(ctx, "/loki/api/v1/query_range", url.Values{
		"query": {logql}, "direction": {"forward"}, "limit": {strconv.Itoa(pageLimit)},
		"start": {strconv.FormatInt(start, 10)}, "end": {strconv.FormatInt(end, 10)},
	})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", logql, err)
	}
	var answer struct {
		Data struct {
			ResultType string `json:"resultType"`
			Result     []struct {
				Stream map[string]string `json:"stream"`
				Values [][]any           `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("query %s: %w", logql, err)
	}
	if answer.Data.ResultType != "streams" {
		return nil, fmt.Errorf("query %s: the result is %q, want streams: a metric query?", logql, answer.Data.ResultType)
	}
	var out []Stream
	for _, r := range answer.Data.Result {
		s := Stream{Labels: r.Stream}
		for _, v := range r.Values {
			e, err := entry(v)
			if err != nil {
				return nil, fmt.Errorf("query %s: %w", logql, err)
			}
			s.Entries = append(s.Entries, e)
		}
		out = append(out, s)
	}
	return out, nil
}

// entry reads ["nanoseconds", "line", {"structuredMetadata": {…}}].
func entry(v []any) (Entry, error) {
	if len(v) < 2 {
		return Entry{}, fmt.Errorf("an entry of %d values", len(v))
	}
	ts, _ := v[0].(string)
	line, _ := v[1].(string)
	n, err := strconv.ParseInt(ts, 10, 64)
	if err != nil {
		return Entry{}, fmt.Errorf("an entry's time: %w", err)
	}
	e := Entry{Time: n, Line: line}
	if len(v) < 3 {
		return e, nil
	}
	categories, _ := v[2].(map[string]any)
	metadata, _ := categories["structuredMetadata"].(map[string]any)
	e.Metadata = make(map[string]string, len(metadata))
	for k, val := range metadata {
		e.Metadata[k], _ = val.(string)
	}
	return e, nil
}

// Count returns how many entries match selector, a log query, from start to end;
// both are rounded outwards to milliseconds. It is quick where Query is not.
func (l *LokiServer) Count(ctx context.Context, selector string, start, end time.Time) (int64, error) {
	to := end.Truncate(time.Millisecond).Add(time.Millisecond)
	span := max(to.Sub(start.Truncate(time.Millisecond)), time.Millisecond) + time.Millisecond
	q := fmt.Sprintf("sum(count_over_time(%s[%dms]))", selector, span.Milliseconds())
	body, err := l.get(ctx, "/loki/api/v1/query", url.Values{
		"query": {q}, "time": {strconv.FormatInt(to.UnixNano(), 10)},
	})
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", q, err)
	}
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("query %s: %w", q, err)
	}
	if len(answer.Data.Result) == 0 {
		return 0, nil
	}
	s, _ := answer.Data.Result[0].Value[1].(string)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", q, err)
	}
	return n, nil
}

// CountLong is Count for many hours: Loki counts by the hour, one after the other.
func (l *LokiServer) CountLong(ctx context.Context, selector string, start, end time.Time) (int64, error) {
	q := fmt.Sprintf("sum(count_over_time(%s[1h]))", selector)
	// Each step counts the hour up to it.
	from := start.Truncate(time.Hour)
	body, err := l.get(ctx, "/loki/api/v1/query_range", url.Values{
		"query": {q}, "step": {"3600"},
		"start": {strconv.FormatInt(from.UnixNano(), 10)}, "end": {strconv.FormatInt(end.Truncate(time.Hour).Add(time.Hour).UnixNano(), 10)},
	})
	if err != nil {
		return 0, fmt.Errorf("query %s: %w", q, err)
	}
	var answer struct {
		Data struct {
			Result []struct {
				Values [][2]any `json:"values"`
			} `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("query %s: %w", q, err)
	}
	sum := int64(0)
	for _, series := range answer.Data.Result {
		for _, v := range series.Values {
			s, _ := v[1].(string)
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("query %s: %w", q, err)
			}
			sum += n
		}
	}
	return sum, nil
}

// Push stores entries by the JSON API, for tests of the harness and of queries.
func (l *LokiServer) Push(t testing.TB, labels map[string]string, entries ...Entry) {
	t.Helper()
	values := make([][]any, 0, len(entries))
	for _, e := range entries {
		v := []any{strconv.FormatInt(e.Time, 10), e.Line}
		if e.Metadata != nil {
			v = append(v, e.Metadata)
		}
		values = append(values, v)
	}
	body, err := json.Marshal(map[string]any{"streams": []any{map[string]any{"stream": labels, "values": values}}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := l.http.Post(l.URL+"/loki/api/v1/push", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(res.Body)
		t.Fatalf("push to %s: %s: %s", l.URL, res.Status, text)
	}
}

func (l *LokiServer) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.URL+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Loki-Response-Encoding-Flags", "categorize-labels")
	res, err := l.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(body))
	}
	return body, nil
}
