package dockerapi

import "cmp"

// A log that is opened again is first asked for its last records only, a window: the
// engine finds them at once whatever the log's size, while it reads its log from the start
// to find a timestamp (about a second per 200,000 lines). A window that does not reach back
// to what was delivered is widened, and past the largest the timestamp is asked for.
const (
	followWindow = 256
	pollWindow   = 8
	maxWindow    = 32 << 10
	widen        = 8
)

// nextWindow returns how many of the last records to ask for; 0 = all since the cursor.
func (r *Reader) nextWindow(follow bool) int {
	least := pollWindow
	if follow || r.unchecked > 0 {
		least = followWindow
	}
	least = cmp.Or(r.opener.window, least) + min(r.unchecked, followed) // further back nothing is remembered to compare with
	n := max(r.window, least)
	if n > maxWindow {
		return 0
	}
	return n
}

// missed notes that a window did not reach back far enough.
func (r *Reader) missed(window int) { r.window = window * widen }

// reached notes that a log was read up to its end, with so many new lines since it was
// opened: the next window is made for twice as many.
func (r *Reader) reached(lines int) { r.window = min(2*lines+1, maxWindow) }
