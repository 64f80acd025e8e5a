package schedule_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

func (s *stage) ask(p prefix.Prompt) *schedule.Request {
	r := s.request("t")
	r.Prompt = p
	return r
}

// scored makes the scheduler anew with other terms.
func (s *stage) scored(change func(*schedule.Terms)) {
	terms := schedule.DefaultTerms()
	change(&terms)
	s.opts.Strategy = &schedule.Scored{Terms: terms, Index: prefix.NewIndex(10_000), Now: time.Now, Random: rand.Uint64}
	s.sched = schedule.New(s.opts)
}

func withoutAffinity(t *schedule.Terms) { t.Affinity = 0 }

func TestAPromptGoesWhereItsBeginningIs(t *testing.T) {
	bubble(t, 4, 8, func(s *stage) {
		s.scored(withoutAffinity)
		first := map[int]string{}
		for round := range 5 {
			for seed := range 8 {
				g := s.place(s.ask(prompt(seed, 30)))
				worker := g.Copy().Worker().ID()
				if round == 0 {
					first[seed] = worker
				} else if worker != first[seed] {
					s.t.Fatalf("round %d: prompt %d went to %s, its beginning is on %s", round, seed, worker, first[seed])
				}
				pass(100 * time.Millisecond)
				cached := 0
				if round > 0 {
					cached = 1900
				}
				served(g, 1920, cached, 10)
			}
		}
		used := map[string]bool{}
		for _, w := range first {
			used[w] = true
		}
		if len(used) < 3 {
			s.t.Errorf("eight prompts lie on %v", used)
		}
		s.idle()
	})
}

func TestAffinityGivesWayToLoad(t *testing.T) {
	bubble(t, 2, 8, func(s *stage) {
		p := prompt(1, 30)
		g := s.place(s.ask(p))
		home := g.Copy()
		pass(time.Second)
		served(g, 1920, 0, 10)
		var running []*schedule.Grant
		elsewhere := 0
		for range 12 {
			g := s.place(s.ask(p))
			if g.Copy() != home {
				elsewhere++
			}
			running = append(running, g)
		}
		if load, slots := home.Load(); load < slots/2 || elsewhere == 0 {
			s.t.Errorf("%d of %d slots are used at home, and %d went elsewhere", load, slots, elsewhere)
		}
		for _, g := range running {
			served(g, 1920, 1900, 10)
		}
		s.idle()
	})
}

func TestAnEngineThatStartedAgainHasNothing(t *testing.T) {
	bubble(t, 2, 8, func(s *stage) {
		s.scored(withoutAffinity)
		g := s.place(s.ask(prompt(1, 30)))
		home := g.Copy()
		pass(time.Second)
		served(g, 1920, 0, 10)
		var other []*fleet.Copy
		for _, c := range s.fleet.View().Ready(s.digest) {
			if c != home {
				other = append(other, c)
			}
		}
		// Home is busier all the time.
		busy, err := s.sched.Place(s.t.Context(), s.request("b"), other)
		if err != nil || busy.Copy() != home {
			s.t.Fatal(busy, err)
		}
		if g = s.place(s.ask(prompt(1, 30))); g.Copy() != home {
			s.t.Error("a prompt is not worth one request beside it")
		}
		served(g, 1920, 1900, 10)
		for _, w := range s.workers {
			if w.ID == home.Worker().ID() {
				w.Restart(s.digest)
			}
		}
		synctest.Wait()
		if g = s.place(s.ask(prompt(1, 30))); g.Copy() == home {
			s.t.Error("an engine is taken for having a prompt that it lost")
		}
		served(g, 1, 0, 1)
		served(busy, 1, 0, 1)
		s.idle()
	})
}

func TestLoadIsSpread(t *testing.T) {
	bubble(t, 4, 8, func(s *stage) {
		var running []*schedule.Grant
		for range 16 {
			running = append(running, s.place(s.request("t")))
		}
		for _, c := range s.fleet.View().Ready(s.digest) {
			if n := c.InFlight(); n != 4 {
				s.t.Errorf("%s has %d of 16", c.Worker().ID(), n)
			}
		}
		for _, g := range running {
			served(g, 1, 0, 1)
		}
		s.idle()
	})
}

// TestAmongMany: above a number of copies only some are looked at, and those
// that hold a prompt are among them.
func TestAmongMany(t *testing.T) {
	bubble(t, 60, 8, func(s *stage) {
		s.scored(withoutAffinity)
		homes := map[int]*fleet.Copy{}
		for round := range 3 {
			for seed := range 20 {
				g := s.place(s.ask(prompt(seed, 30)))
				if round == 0 {
					homes[seed] = g.Copy()
				} else if g.Copy() != homes[seed] {
					s.t.Errorf("prompt %d left home", seed)
				}
				pass(time.Second)
				served(g, 1920, 1900*min(round, 1), 10)
			}
		}
		// The last free place is found, wherever it is.
		var running []*schedule.Grant
		start := time.Now()
		for range 60 * 9 {
			running = append(running, s.place(s.request("t")))
		}
		if d := time.Since(start); d != 0 {
			s.t.Errorf("a request waited %v beside a free place", d)
		}
		for _, g := range running {
			served(g, 1, 0, 1)
		}
		s.idle()
	})
}

// Of two copies that each read a prompt, the one that began first is free first.
func TestTheOneThatIsNearlyDone(t *testing.T) {
	bubble(t, 2, 8, func(s *stage) {
		s.scored(func(t *schedule.Terms) { t.Affinity, t.Queue = 0, 0 })
		g := s.place(s.ask(prompt(1, 30)))
		pass(2 * time.Second) // a thousandth of a second a token
		served(g, 2000, 0, 10)
		for seed := range 6 {
			first := s.place(s.ask(prompt(10+seed, 30)))
			pass(time.Second)
			second := s.place(s.ask(prompt(20+seed, 30)))
			if first.Copy() == second.Copy() {
				s.t.Fatal("an idle copy was left idle")
			}
			third := s.place(s.ask(prompt(30+seed, 30)))
			if third.Copy() != first.Copy() {
				s.t.Error("a prompt was put behind the one that had just begun")
			}
			pass(time.Second)
			served(first, 2000, 0, 10)
			pass(time.Second)
			served(second, 2000, 0, 10)
			third.End(schedule.Result{}) // nothing is learnt of it
		}
		s.idle()
	})
}

func TestAFullKVCacheIsAvoided(t *testing.T) {
	bubble(t, 2, 8, func(s *stage) {
		s.workers[0].FillKV(s.digest, 0.97)
		synctest.Wait()
		var running []*schedule.Grant
		for range 6 {
			g := s.place(s.request("t"))
			if g.Copy().Worker().ID() == "w0" {
				s.t.Error("a request went to an engine that is about to put some off")
			}
			running = append(running, g)
		}
		for _, g := range running {
			served(g, 1, 0, 1)
		}
		s.workers[0].FillKV(s.digest, 0.5)
		synctest.Wait()
		s.idle()
	})
}

// TestReplicasAgree: another replica, which knows nothing of the first one's
// requests, sends the same prompt to the same worker.
func TestReplicasAgree(t *testing.T) {
	bubble(t, 8, 8, func(s *stage) {
		opts := s.opts
		opts.Strategy = &schedule.Scored{
			Terms: schedule.DefaultTerms(), Index: prefix.NewIndex(1000), Now: time.Now, Random: rand.Uint64,
		}
		other := schedule.New(opts)
		same := 0
		for seed := range 50 {
			p := prompt(seed, 30)
			a := s.place(s.ask(p))
			pass(100 * time.Millisecond)
			served(a, 1920, 0, 10)
			b, err := other.Place(s.t.Context(), s.ask(p), nil)
			if err != nil {
				s.t.Fatal(err)
			}
			if a.Copy() == b.Copy() {
				same++
			}
			pass(100 * time.Millisecond)
			served(b, 1920, 1900, 10)
		}
		if same < 48 {
			s.t.Errorf("%d of 50 prompts went to the same worker", same)
		}
		s.idle()
	})
}

// TestNothingIsLeft: whatever happens to requests, every place is given back.
func TestNothingIsLeft(t *testing.T) {
	bubble(t, 3, 2, func(s *stage) {
		var wg sync.WaitGroup
		for i := range 400 {
			r := rand.New(rand.NewPCG(uint64(i), 5))
			wg.Go(func() {
				pass(time.Duration(r.IntN(20_000)) * time.Millisecond)
				ctx, cancel := context.WithTimeout(s.t.Context(), time.Duration(1+r.IntN(4000))*time.Millisecond)
				defer cancel()
				req := s.ask(prompt(r.IntN(10), 1+r.IntN(20)))
				req.Tenant, req.Class = fmt.Sprint(r.IntN(5)), fair.Class(r.IntN(3))
				g, err := s.sched.Place(ctx, req, nil)
				if err != nil || g == nil {
					return
				}
				pass(time.Duration(r.IntN(800)) * time.Millisecond)
				switch r.IntN(3) {
				case 0:
					served(g, 100, r.IntN(100), 10)
				case 1:
					g.FirstToken()
					g.End(schedule.Result{Counted: true, Prompt: 5, Output: 1})
				default:
					g.End(schedule.Result{})
				}
			})
		}
		for range 20 {
			pass(time.Second)
			state := ready
			if rand.IntN(2) == 0 {
				state = workerv1.ModelState_MODEL_STATE_FAILED
			}
			s.workers[1].Set(s.digest, state)
		}
		wg.Wait()
		s.workers[1].Set(s.digest, ready)
		synctest.Wait()
		s.idle()
	})
}

// A caller who leaves says nothing of the prompts that were given before.
func TestACallerWhoLeavesHidesNoPrompts(t *testing.T) {
	bubble(t, 2, 16, func(s *stage) {
		t := s.t
		for i := range 40 { // what it reads is learnt: 1,000 tokens a second
			g := s.place(s.ask(prefix.Prompt{Text: hexText(uint64(i), 1000), MaxTokens: 16}))
			pass(time.Second)
			g.FirstToken()
			g.End(schedule.Result{Served: true, Counted: true, Prompt: 1000, Output: 16})
		}
		byWorker := map[string][]*schedule.Grant{}
		for i := range 10 {
			g := s.place(s.ask(prefix.Prompt{Text: hexText(uint64(1000+i), 2000), MaxTokens: 16}))
			byWorker[g.Copy().Worker().ID()] = append(byWorker[g.Copy().Worker().ID()], g)
		}
		first := byWorker["w0"]
		c := first[0].Copy()
		before := time.Until(time.Unix(0, c.ReadUntil.Load()))
		first[len(first)-1].End(schedule.Result{Cancelled: true})
		after := time.Until(time.Unix(0, c.ReadUntil.Load()))
		if share := after.Seconds() / before.Seconds(); share < 0.75 || share > 0.85 {
			t.Errorf("four of five prompts are to be read: %v, and before %v", after, before)
		}
		n := 0
		for i := range 4 {
			if g := s.place(s.ask(prefix.Prompt{Text: hexText(uint64(2000+i), 2000), MaxTokens: 16})); g.Copy() == c {
				n++
			}
		}
		if n == 4 {
			t.Error("a worker with four unread prompts counts as having read all")
		}
	})
}
