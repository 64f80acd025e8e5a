package consul

import (
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/discovery"
)

func ids(set []discovery.Instance) string {
	out := make([]string, len(set))
	for i, s := range set {
		out[i] = s.ID
	}
	return strings.Join(out, "")
}

// set returns instances named by letters; each has an address of its own.
func set(names string) []discovery.Instance {
	out := make([]discovery.Instance, 0, len(names))
	for _, n := range names {
		out = append(out, discovery.Instance{ID: string(n), Addr: string(n) + ":1"})
	}
	return out
}

func TestSettler(t *testing.T) {
	type step struct {
		after time.Duration
		found string // "!" is away; "?" asks again
		want  string
	}
	const grace = 10 * time.Second
	for name, steps := range map[string][]step{
		"changes are believed at once":          {{0, "ab", "ab"}, {1, "a", "a"}, {1, "abc", "abc"}},
		"the first empty answer is believed":    {{0, "", ""}, {1, "a", "a"}},
		"everybody vanishes for a moment":       {{0, "ab", "ab"}, {1, "", "ab"}, {1, "a", "ab"}, {1, "ab", "ab"}, {30 * time.Second, "b", "b"}},
		"everybody vanishes for good":           {{0, "ab", "ab"}, {1, "", "ab"}, {grace - 1, "?", "ab"}, {1, "?", ""}, {1, "c", "c"}},
		"consul forgot while it was away":       {{0, "abc", "abc"}, {1, "!", "abc"}, {time.Hour, "!", "abc"}, {1, "a", "abc"}, {1, "ab", "abc"}, {grace, "?", "ab"}},
		"consul forgot all while it was away":   {{0, "ab", "ab"}, {1, "!", "ab"}, {time.Hour, "", "ab"}, {grace, "?", ""}},
		"one that is new is taken in the grace": {{0, "ab", "ab"}, {1, "!", "ab"}, {1, "d", "abd"}, {grace, "?", "d"}},
		"away before anything is known":         {{0, "!", ""}, {1, "ab", "ab"}, {1, "a", "a"}},
		"away again in the grace":               {{0, "ab", "ab"}, {1, "!", "ab"}, {1, "a", "ab"}, {1, "!", "ab"}, {grace, "?", "ab"}, {1, "a", "ab"}, {grace, "?", "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := settler{grace: grace}
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			var last string
			for i, st := range steps {
				now = now.Add(st.after)
				switch st.found {
				case "!":
					s.away()
					last = ids(s.settle(now))
				case "?":
					last = ids(s.settle(now))
				default:
					last = ids(s.seen(now, set(st.found)))
				}
				if last != st.want {
					t.Fatalf("step %d: %q, want %q", i, last, st.want)
				}
			}
		})
	}
}

func TestSettlerSaysWhenToAskAgain(t *testing.T) {
	s := settler{grace: 10 * time.Second}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s.seen(now, set("ab"))
	if got := s.pending(now); got != 0 {
		t.Fatalf("nothing is pending, got %v", got)
	}
	s.seen(now, nil)
	if got := s.pending(now.Add(4 * time.Second)); got != 6*time.Second {
		t.Fatalf("pending %v, want 6s", got)
	}
	s.away()
	if got := s.pending(now); got != 0 {
		t.Fatalf("the grace begins when Consul is back, got %v", got)
	}
}

func TestUnionDropsAnAddressThatWasTaken(t *testing.T) {
	known := set("ab")
	restarted := []discovery.Instance{{ID: "z", Addr: "a:1"}}
	if got := ids(union(restarted, known)); got != "bz" {
		t.Fatalf("got %q", got)
	}
}

func TestNextIndex(t *testing.T) {
	for _, c := range []struct {
		a    answer
		want uint64
	}{
		{answer{index: 7}, 7},
		{answer{index: 0}, 1},
		{answer{index: 5, reset: true}, 0},
		{answer{index: 5, err: errSome}, 0},
	} {
		if got := nextIndex(c.a); got != c.want {
			t.Errorf("%+v: %d, want %d", c.a, got, c.want)
		}
	}
}
