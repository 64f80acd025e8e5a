package schedule_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

func TestASessionStays(t *testing.T) {
	bubble(t, 4, 8, func(s *stage) {
		homes := map[string]string{}
		for round := range 4 {
			for i := range 6 {
				r := s.ask(prompt(100*round+i, 20)) // another prompt each time
				r.Session = fmt.Sprint(i)
				g := s.place(r)
				if worker := g.Copy().Worker().ID(); round == 0 {
					homes[r.Session] = worker
				} else if homes[r.Session] != worker {
					s.t.Errorf("session %d went from %s to %s", i, homes[r.Session], worker)
				}
				pass(10 * time.Millisecond)
				served(g, 1280, 0, 10)
			}
		}
		s.idle()
	})
}

// A session's requests go to the same worker from every replica, though none knows what
// the others did, and while its worker has no more than its part of all.
func TestReplicasAgreeOnSessions(t *testing.T) {
	bubble(t, 4, 8, func(s *stage) {
		replicas := make([]*schedule.Scheduler, 3)
		for i := range replicas {
			opts := s.opts
			opts.Strategy = &schedule.Scored{Terms: schedule.DefaultTerms(), Index: prefix.NewIndex(1000), Now: time.Now, Random: rand.Uint64}
			replicas[i] = schedule.New(opts)
		}
		homes, used := map[string]*fleet.Copy{}, map[*fleet.Copy]int{}
		for n := range 120 {
			r := s.ask(prompt(n, 20))
			r.Session = fmt.Sprint(n % 40)
			g, err := replicas[n%3].Place(s.t.Context(), r, nil)
			if err != nil {
				s.t.Fatal(err)
			}
			if home := homes[r.Session]; home != nil && home != g.Copy() {
				s.t.Errorf("session %s has several homes", r.Session)
			}
			homes[r.Session] = g.Copy()
			used[g.Copy()]++
			pass(256 * time.Millisecond) // as long as is expected of a copy that nothing is known of
			served(g, 1280, 0, 10)
		}
		if len(used) != 4 {
			s.t.Errorf("%d of 4 workers are used", len(used))
		}
		s.idle()
	})
}

// One session that everybody uses at once does not fill its worker while others idle.
func TestAPopularSessionIsSpread(t *testing.T) {
	bubble(t, 4, 8, func(s *stage) {
		var grants []*schedule.Grant
		used := map[string]int{}
		for n := range 16 {
			r := s.ask(prompt(n, 20))
			r.Session = "everybody's"
			g := s.place(r)
			grants = append(grants, g)
			used[g.Copy().Worker().ID()]++
		}
		for id, n := range used {
			if n > 5 { // 16 / 4 x 1.25
				s.t.Errorf("%s has %d of 16", id, n)
			}
		}
		pass(10 * time.Millisecond)
		for _, g := range grants {
			served(g, 1280, 0, 10)
		}
		s.idle()
	})
}
