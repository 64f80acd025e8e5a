package respcache_test

import (
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// Several answers are as old as the oldest, and fresh for as long as all of them are.
func TestLifetime(t *testing.T) {
	now := time.Unix(1_900_000_000, 0)
	of := func(age, ttl time.Duration) *respcache.Entry { return &respcache.Entry{Made: now.Add(-age), TTL: ttl} }
	for _, c := range []struct {
		entries    []*respcache.Entry
		age, fresh string
	}{
		{[]*respcache.Entry{of(1500*time.Millisecond, time.Minute)}, "1", "58"},
		{[]*respcache.Entry{of(20*time.Second, time.Hour), of(2*time.Second, 30*time.Second)}, "20", "28"},
		{[]*respcache.Entry{of(2*time.Minute, time.Minute)}, "120", "0"}, // stale
	} {
		if age, fresh := respcache.Lifetime(now, c.entries...); age != c.age || fresh != c.fresh {
			t.Errorf("%s old and fresh for %s, want %s and %s", age, fresh, c.age, c.fresh)
		}
	}
}
