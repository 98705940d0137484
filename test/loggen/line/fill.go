package line

var (
	levels = []string{" INFO ", " INFO ", " INFO ", " DEBUG ", " WARN ", " ERROR "}
	verbs  = []string{"done", "served", "retry", "cache miss", "order placed", "user signed in", "slow query", "queue drained"}
	words  = []string{
		"account", "basket", "cache", "delivery", "event", "filter", "gateway", "handler",
		"invoice", "job", "kernel", "ledger", "message", "node", "order", "payment",
		"query", "request", "session", "token", "upload", "volume", "worker", "zone",
	}
)

func pick(from []string, r uint64) string { return from[r%uint64(len(from))] }

// scatter maps neighbouring numbers to unlike ones (the finaliser of splitmix64),
// so that lines vary and yet follow from their number alone.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// fill appends words until dst has exactly n bytes; it does nothing when it has them already.
func fill(dst []byte, n int, r uint64) []byte {
	if len(dst) >= n {
		return dst
	}
	for len(dst) < n {
		r = scatter(r)
		dst = append(dst, ' ')
		dst = append(dst, pick(words, r)...)
	}
	return dst[:n]
}
