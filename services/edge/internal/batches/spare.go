package batches

import (
	"net/http"
	"strconv"
	"time"
)

// maxSpare bounds how long is waited for a limit to recover.
const maxSpare = 10 * time.Minute

// spare is how long to wait until half of the caller's limits is left: the other half
// is for requests that somebody waits for. It goes by what an answer's header says of
// the limit that is nearest.
func spare(h http.Header) time.Duration {
	return max(spareOf(h, "Requests"), spareOf(h, "Tokens"))
}

func spareOf(h http.Header, unit string) time.Duration {
	limit, err := strconv.ParseInt(h.Get("X-Ratelimit-Limit-"+unit), 10, 64)
	if err != nil || limit < 2 {
		return 0
	}
	left, err := strconv.ParseInt(h.Get("X-Ratelimit-Remaining-"+unit), 10, 64)
	if err != nil || left < 0 || left >= limit/2 {
		return 0
	}
	// That is when all of it is there again.
	reset, err := time.ParseDuration(h.Get("X-Ratelimit-Reset-" + unit))
	if err != nil || reset <= 0 {
		return 0
	}
	return min(maxSpare, time.Duration(float64(reset)*float64(limit/2-left)/float64(limit-left)))
}
