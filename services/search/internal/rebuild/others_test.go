package rebuild

import (
	"testing"
	"time"

	"github.com/poterne/poterne/services/search/internal/store"
)

// A switch waits until the other processes have their index, and for none that is
// not heard of any more.
func TestASwitchWaitsForOtherProcesses(t *testing.T) {
	for name, then := range map[string]func(t *testing.T, s *store.Store, c store.Collection){
		"it has it": func(t *testing.T, s *store.Store, c store.Collection) {
			t.Helper()
			check(t, s.Follows(t.Context(), c, "other", true))
		},
		"it is dead": func(*testing.T, *store.Store, store.Collection) {},
		"it ends": func(t *testing.T, s *store.Store, _ store.Collection) {
			t.Helper()
			check(t, s.Release(t.Context(), "other"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, p := setup(t, 3)
			number := create(t, s, c)
			at := c.At(number)
			check(t, s.Follows(t.Context(), at, "other", false))
			lease := time.Hour
			if name == "it is dead" {
				lease = 100 * time.Millisecond
			}
			defer start(t, builder(s, p, "a", func(o *Options) { o.Lease = lease }))()
			deadline := time.After(20 * time.Second)
			for reason := ""; reason == "" && name != "it is dead"; {
				g, err := s.EmbeddingGeneration(t.Context(), c, number)
				check(t, err)
				if g.State == store.Serving {
					t.Fatal("it serves already")
				}
				reason = g.Reason
				select {
				case <-time.After(time.Millisecond):
				case <-deadline:
					t.Fatalf("%+v", g)
				}
			}
			then(t, s, at)
			serves(t, s, c, number)
			if n, err := s.Awaited(t.Context(), at, "a", time.Time{}.Add(time.Hour)); n != 0 || err != nil {
				t.Errorf("%d are awaited, %v", n, err)
			}
		})
	}
}
