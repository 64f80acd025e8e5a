package limit

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"
)

// The headers that tell a caller about limits, as gRPC metadata keys. The first two
// are those of draft-ietf-httpapi-ratelimit-headers (revision 10), the others are
// OpenAI's.
const (
	HeaderRateLimit       = "ratelimit"
	HeaderRateLimitPolicy = "ratelimit-policy"
	HeaderLimit           = "x-ratelimit-limit-"
	HeaderRemaining       = "x-ratelimit-remaining-"
	HeaderReset           = "x-ratelimit-reset-"
)

// PolicyDefault is the name of the limit that each key has without any rule.
const PolicyDefault = "default"

// PerReplica ends the name of a policy while what replicas share is away, so that
// each of them counts its own share.
const PerReplica = "per-replica"

// Unit is what a policy counts, by the draft's names where it has one.
type Unit string

// The units.
const (
	Requests   Unit = "requests"
	Tokens     Unit = "tokens"
	Concurrent Unit = "concurrent-requests"
)

// Policy is a limit that applied to a request, and what it decided.
type Policy struct {
	// Name is letters, digits, hyphens and underscores.
	Name string
	Unit Unit
	// Partition tells which of a policy's buckets it was; empty: the caller's own.
	Partition string
	Decision
}

// Headers returns the headers that tell a caller about policies, names and values in
// turn. OpenAI's are about that with the least left, of each unit.
func Headers(policies []Policy) []string {
	const openAI = 6
	var rooms [2][256]byte                    // on the stack, and enough for most
	quota, text := rooms[0][:0], rooms[1][:0] // text has all values in the end, one after another
	var least [2]*Policy
	for i := range policies {
		p := &policies[i]
		if i > 0 {
			text, quota = append(text, ',', ' '), append(quota, ',', ' ')
		}
		text = append(p.name(text), ";r="...)
		text = strconv.AppendInt(text, int64(p.Remaining), 10)
		quota = append(p.name(quota), ";q="...)
		quota = strconv.AppendInt(quota, int64(p.Limit.AtOnce()), 10)
		if p.Unit != Requests {
			quota = append(append(append(quota, `;qu="`...), p.Unit...), '"')
		}
		if p.Unit != Concurrent { // what is in hand comes back when it ends
			text = strconv.AppendInt(append(text, ";t="...), seconds(p.ResetAfter), 10)
			quota = strconv.AppendInt(append(quota, ";w="...), p.Limit.window(), 10)
		}
		if p.Partition != "" {
			text, quota = p.partition(text), p.partition(quota)
		}
		if n := p.openAI(); n >= 0 && (least[n] == nil || p.Remaining < least[n].Remaining) {
			least[n] = p
		}
	}
	var at [2 + openAI]int // where each value ends
	ends := append(at[:0], len(text), len(text)+len(quota))
	text = append(text, quota...)
	for _, p := range least {
		if p != nil {
			text = strconv.AppendInt(text, int64(p.Limit.Amount), 10)
			ends = append(ends, len(text))
			text = strconv.AppendInt(text, int64(p.Remaining), 10)
			ends = append(ends, len(text))
			text = append(text, p.ResetAfter.Round(time.Millisecond).String()...)
			ends = append(ends, len(text))
		}
	}
	return named(string(text), ends, least, len(policies) > 0)
}

// named gives the parts of text that end at ends their names.
func named(text string, ends []int, least [2]*Policy, told bool) []string {
	out, begin, n := make([]string, 0, 2*len(ends)), 0, 0
	add := func(name string) {
		out = append(out, name, text[begin:ends[n]])
		begin, n = ends[n], n+1
	}
	if !told {
		return out
	}
	add(HeaderRateLimit)
	add(HeaderRateLimitPolicy)
	if least[0] != nil {
		add(HeaderLimit + string(Requests))
		add(HeaderRemaining + string(Requests))
		add(HeaderReset + string(Requests))
	}
	if least[1] != nil {
		add(HeaderLimit + string(Tokens))
		add(HeaderRemaining + string(Tokens))
		add(HeaderReset + string(Tokens))
	}
	return out
}

func (p *Policy) openAI() int {
	switch p.Unit {
	case Requests:
		return 0
	case Tokens:
		return 1
	case Concurrent:
		return -1
	default:
		return -1
	}
}

// name writes the name, a string of RFC 9651.
func (p *Policy) name(b []byte) []byte {
	b = append(append(b, '"'), p.Name...)
	if p.Local {
		b = append(append(b, '/'), PerReplica...)
	}
	return append(b, '"')
}

// partition writes the partition key, a byte sequence of RFC 9651: a digest
// (FNV-1a), since the bucket's name may be long.
func (p *Policy) partition(b []byte) []byte {
	const offset, prime, size = 14695981039346656037, 1099511628211, 8
	h := uint64(offset)
	for i := range len(p.Partition) {
		h = (h ^ uint64(p.Partition[i])) * prime
	}
	var sum [size]byte
	for i := range sum {
		sum[size-1-i] = byte(h >> (8 * i))
	}
	b = base64.StdEncoding.AppendEncode(append(b, ";pk=:"...), sum[:])
	return append(b, ':')
}

// window is the time in which the whole burst is refilled, in seconds; at
// least 1.
func (l Limit) window() int64 {
	w := l.Period.Seconds() * float64(l.AtOnce()) / float64(l.Amount)
	return max(int64(math.Round(w)), 1)
}

// seconds rounds up, so that nobody comes back too early.
func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
