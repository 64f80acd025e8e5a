package maxprocs

import (
	"math/rand/v2"
	"testing"
)

func TestGovernor(t *testing.T) {
	for _, c := range []struct {
		name   string
		most   int
		filled float64 // all the time
		want   int
	}{
		{"idle on two", 2, 0, 1},
		{"little to do on two", 2, 0.4, 1},
		{"more than one is comfortable with", 2, 0.6, 2},
		{"more than one", 2, 1.3, 2},
		{"one alone", 1, 1, 1},
		{"idle on sixteen", 16, 0, 8},
		{"busy on sixteen", 16, 5, 10},
		{"full on sixteen", 16, 15.9, 16},
		{"three", 3, 0.1, 1},
		{"no number of processors", 0, 0.1, 1},
	} {
		g := newGovernor(c.most)
		if g.now != max(c.most, 1) {
			t.Errorf("%s: it begins with %d of %d", c.name, g.now, c.most)
		}
		for range 3 * calm {
			g.look(c.filled)
		}
		if g.now != c.want {
			t.Errorf("%s: %d of %d, want %d", c.name, g.now, c.most, c.want)
		}
	}
}

// More is given at once, and taken after all of a while in which less was enough.
func TestGovernorIsQuickToGiveAndSlowToTake(t *testing.T) {
	g := newGovernor(16)
	for range calm - 1 {
		g.look(1)
	}
	if g.now != 16 {
		t.Errorf("%d before the while was over", g.now)
	}
	if g.look(1); g.now != 8 {
		t.Errorf("%d after it", g.now)
	}
	if g.look(7); g.now != 16 {
		t.Errorf("%d as soon as there was work", g.now)
	}
	for range calm - 1 {
		g.look(0)
	}
	g.look(8) // the last look of the while
	if g.now != 16 {
		t.Errorf("%d, and 16 had been wanted within the while", g.now)
	}
}

func TestGovernorWhenTheLimitChanges(t *testing.T) {
	g := newGovernor(2)
	for range calm {
		g.look(0)
	}
	if g.limit(8); g.now != 4 {
		t.Errorf("%d of 8", g.now)
	}
	if g.limit(3); g.now != 3 {
		t.Errorf("%d of 3", g.now)
	}
	if g.limit(1); g.now != 1 {
		t.Errorf("%d of 1", g.now)
	}
	if g.look(1); g.now != 1 {
		t.Errorf("%d of 1 when it is full", g.now)
	}
}

// Whatever the work, it stays within its bounds; and work that stays the same is given the
// same after a while, so that nothing goes back and forth.
func TestGovernorSettles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		most := 1 + r.IntN(64)
		g := newGovernor(most)
		in := func() {
			t.Helper()
			if g.now < max(most/2, 1) || g.now > most {
				t.Fatalf("%d of %d", g.now, most)
			}
		}
		for range r.IntN(300) {
			g.look(r.Float64() * float64(most))
			in()
		}
		filled := r.Float64() * float64(most)
		for range 3 * calm {
			g.look(min(filled, float64(g.now)))
			in()
		}
		settled := g.now
		for range 5 * calm {
			if g.look(min(filled, float64(g.now))); g.now != settled {
				t.Fatalf("%.2f of %d: %d, and before %d", filled, most, g.now, settled)
			}
		}
	}
}
