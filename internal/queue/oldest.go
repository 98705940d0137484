package queue

import (
	"errors"
	"fmt"
	"io"

	"github.com/logcapturer/log_capturer/internal/record"
)

// DropOldest gives up what has been in the spool for longest, until that has room or
// nothing more can be read of it, and returns how many lines it gave up. What is being
// sent is not given up: it stays in memory, and the spool forgets it.
func (q *Queue) DropOldest() (lines int, err error) {
	q.readMu.Lock()
	defer q.readMu.Unlock()
	q.statMu.Lock()
	defer q.statMu.Unlock()
	last, synced := q.detach(), false
	for {
		if last > 0 {
			if err := q.spool.Commit(last); err != nil {
				return lines, fmt.Errorf("drop the oldest of the spool: %w", err)
			}
		}
		if q.spool.Room() {
			return lines, nil
		}
		it, err := q.oldest()
		if errors.Is(err, io.EOF) && !synced { // only what is synced can be read
			synced, last = true, 0
			if err := q.Sync(); err != nil {
				return lines, err
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, fmt.Errorf("drop the oldest of the spool: %w", err)
		}
		last = it.seq
		lines += len(it.batch.Entries)
		q.mu.Lock()
		q.gone(it.batch.Source.ID)
		q.mu.Unlock()
		q.answer(it.batch, record.Failed) // its memory alone: the source has its answer
	}
}

// detach makes batches in memory of those that the taker has from the spool, and
// returns the highest of their numbers.
func (q *Queue) detach() (last uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	last = q.detachAll(q.back)
	if q.lease != nil {
		last = max(last, q.detachAll(q.lease.items))
	}
	return last
}

func (q *Queue) detachAll(items []item) (last uint64) {
	for i := range items {
		it := &items[i]
		if !it.disk {
			continue
		}
		it.disk, it.alone = false, true
		q.gone(it.batch.Source.ID)
		q.ahead -= int64(it.from)
		q.lines += int64(it.left())
		last = max(last, it.seq)
	}
	return last
}

// oldest takes the next batch of the spool out of it.
func (q *Queue) oldest() (item, error) {
	q.mu.Lock()
	if it := q.disk; it != nil {
		q.disk = nil
		q.mu.Unlock()
		return *it, nil
	}
	q.mu.Unlock()
	b, seq, err := q.spool.Read()
	return item{batch: b, seq: seq}, err
}
