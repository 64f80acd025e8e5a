package batches

import (
	"slices"
	"testing"
)

func TestStatuses(t *testing.T) {
	for _, s := range Statuses() {
		if s.Ended() != slices.Contains([]Status{Failed, Completed, Expired, Cancelled}, s) {
			t.Errorf("%s: ended is %v", s, s.Ended())
		}
		for _, to := range next(s) {
			if !slices.Contains(before(to), s) || !s.May(to) || to == s {
				t.Errorf("%s to %s", s, to)
			}
		}
	}
	// Whatever comes first, each batch comes to an end.
	for _, s := range Statuses() {
		for steps := 0; !s.Ended(); steps++ {
			if steps > len(Statuses()) {
				t.Fatalf("%s has no end", s)
			}
			s = next(s)[0]
		}
	}
}
