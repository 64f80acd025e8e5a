package limit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// lagging is a Redis whose answers take their time, before it does what it is asked
// and after, and are lost.
type lagging struct {
	*model

	mu   sync.Mutex
	rand *rand.Rand
	most time.Duration // the longest delay, either way
	lost float64       // how many answers
	gone int           // units that lost answers gave
}

func (g *lagging) delay() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rand.IntN(3) > 0 { // mostly in time
		return time.Duration(g.rand.Int64N(int64(time.Millisecond)))
	}
	return time.Duration(g.rand.Int64N(int64(g.most)))
}

func (g *lagging) Run(ctx context.Context, source string, keys []string, args ...any) ([]int64, error) {
	if err := clock.Sleep(ctx, clock.Real(), g.delay()); err != nil {
		return nil, err
	}
	out, err := g.model.Run(ctx, source, keys, args...)
	if after := clock.Sleep(ctx, clock.Real(), g.delay()); after != nil && err == nil {
		err = after
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.rand.Float64() < g.lost {
		err = errors.New("the connection is lost")
	}
	if err != nil && source == takeScript {
		for i := range keys {
			if len(out) > 5*i+1 && out[5*i] == 1 {
				g.gone += arg[int](args, 4*i+2) + int(out[5*i+1])
			}
		}
	}
	return out, err
}

// TestLateAnswersAreReconciled has replicas ask a Redis that answers late, often too
// late for the request, and sometimes never. They let through what the limit says.
func TestLateAnswersAreReconciled(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { reconcileLate(t, rand.New(rand.NewPCG(seed, 11))) })
		})
	}
}

func reconcileLate(t *testing.T, r *rand.Rand) {
	t.Helper()
	replicas := 1 + r.IntN(3)
	g := &lagging{model: newModel(clock.Real()), rand: r, most: time.Duration([]int{8, 20, 60, 200}[r.IntN(4)]) * time.Millisecond}
	g.edges = replicas
	if r.IntN(2) == 0 {
		g.lost = 0.02
	}
	limit := Limit{Amount: 200 * (1 + r.IntN(3)), Period: time.Second}
	limit.Burst = limit.Amount * (1 + r.IntN(3))
	begun := time.Now()
	const took = 10 * time.Second
	var group sync.WaitGroup
	admitted := make([]int, replicas)
	seen := new(counting)
	for i := range replicas {
		l := runningOn(t, g, waitsFor, seen)
		var mu sync.Mutex
		for c := range 8 {
			group.Go(func() {
				// Twice as many as may be.
				for n := 0; ; n++ {
					at := time.Duration(n*8+c) * time.Second / time.Duration(2*limit.Amount) * time.Duration(replicas)
					if at > took {
						return
					}
					sleep(t, at-time.Since(begun))
					d, waited := askOnce(t, l, "k", 1, limit, AwayLocal)
					if waited > waitsFor {
						t.Errorf("a request waited %v", waited)
					}
					if d.Allowed {
						mu.Lock()
						admitted[i]++
						mu.Unlock()
					}
				}
			})
		}
	}
	group.Wait()
	sum := 0
	for _, n := range admitted {
		sum += n
	}
	want := limit.AtOnce() + limit.Amount*int(took/time.Second)
	t.Logf("%d replicas, up to %v, %v lost (%d units): %d of %d (%+.2f %%), %d asks, %d decided alone", replicas, g.most, g.lost, g.gone, sum, want,
		100*(float64(sum)/float64(want)-1), seen.asked.Load(), seen.local.Load())
	if sum > want*102/100 {
		t.Errorf("%d were let in, %d may be", sum, want)
	}
	if sum < want*98/100-g.gone { // an answer that is lost costs what it gave
		t.Errorf("%d were let in, %d may be, and lost answers had %d", sum, want, g.gone)
	}
}
