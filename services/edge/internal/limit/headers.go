package limit

import (
	"math"
	"strconv"
	"time"
)

// The headers that tell a caller about a limit, as gRPC metadata keys. The
// first two are those of draft-ietf-httpapi-ratelimit-headers (revision 10),
// the others are OpenAI's.
const (
	HeaderRateLimit       = "ratelimit"
	HeaderRateLimitPolicy = "ratelimit-policy"
	HeaderLimit           = "x-ratelimit-limit-requests"
	HeaderRemaining       = "x-ratelimit-remaining-requests"
	HeaderReset           = "x-ratelimit-reset-requests"
)

// The names of the policy in HeaderRateLimitPolicy.
const (
	PolicyDefault = "default"
	// PolicyPerReplica says that each replica of the gateway counts alone, since
	// what they share is away.
	PolicyPerReplica = "per-replica"
)

// Headers returns the headers that tell a caller about d, names and values in
// turn.
func Headers(d Decision) []string {
	name := `"` + PolicyDefault + `"`
	if d.Local {
		name = `"` + PolicyPerReplica + `"`
	}
	remaining := strconv.Itoa(d.Remaining)
	return []string{
		HeaderRateLimit, name + ";r=" + remaining + ";t=" + strconv.FormatInt(seconds(d.ResetAfter), 10),
		HeaderRateLimitPolicy, name + ";q=" + strconv.Itoa(d.Limit.burst()) + ";w=" + strconv.FormatInt(d.Limit.window(), 10),
		HeaderLimit, strconv.Itoa(d.Limit.Requests),
		HeaderRemaining, remaining,
		HeaderReset, d.ResetAfter.Round(time.Millisecond).String(),
	}
}

// window is the time in which the whole burst is refilled, in seconds; at
// least 1.
func (l Limit) window() int64 {
	w := l.Period.Seconds() * float64(l.burst()) / float64(l.Requests)
	return max(int64(math.Round(w)), 1)
}

// seconds rounds up, so that nobody comes back too early.
func seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
