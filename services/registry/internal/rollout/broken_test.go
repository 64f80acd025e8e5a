package rollout_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/rollout"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// traffic is requests that fail at a rate in each arm, and a judge of them: a
// sequential test of error rates that may be looked at as often as one likes. Each
// arm's rate has a confidence sequence from the mixture of likelihood ratios over
// a uniform prior (Robbins, Statistical Methods Related to the Law of the Iterated
// Logarithm, 1970); the candidate is worse when its lower end lies above what the
// baseline's upper end allows.
type traffic struct {
	random              *rand.Rand
	start               time.Time
	perSecond, share    float64
	baseline, candidate float64 // error rates
	n, errors           [2]int64
}

func (f *traffic) Judge(_ context.Context, q evidence.Question) (evidence.Judgement, error) {
	for until := int64(time.Since(f.start).Seconds() * f.perSecond); f.n[0]+f.n[1] < until; {
		arm, rate := 0, f.baseline
		if f.random.Float64() < f.share {
			arm, rate = 1, f.candidate
		}
		f.n[arm]++
		if f.random.Float64() < rate {
			f.errors[arm]++
		}
	}
	out := evidence.Judgement{Requests: map[string]int64{q.Baseline: f.n[0], q.Candidate: f.n[1]}}
	for _, g := range q.Guardrails {
		_, upper := sequence(f.errors[0], f.n[0], g.Alpha/2)
		lower, _ := sequence(f.errors[1], f.n[1], g.Alpha/2)
		if lower > upper*(1+g.MaxRelative) {
			out.Breaches = append(out.Breaches, evidence.Breach{
				Guardrail: g, Baseline: ratio(f.errors[0], f.n[0]), Candidate: ratio(f.errors[1], f.n[1]), Bound: lower/upper - 1,
				Words: fmt.Sprintf("error_rate is %.3f beside %.3f", ratio(f.errors[1], f.n[1]), ratio(f.errors[0], f.n[0])),
			})
		}
	}
	return out, nil
}

func ratio(a, b int64) float64 { return float64(a) / float64(max(b, 1)) }

// sequence returns the rates p for which the mixture ∫ u^s (1-u)^(n-s) du is less
// than 1/alpha times p^s (1-p)^(n-s).
func sequence(s, n int64, alpha float64) (lower, upper float64) {
	lg := func(x float64) float64 { v, _ := math.Lgamma(x); return v }
	mixture := lg(float64(s)+1) + lg(float64(n-s)+1) - lg(float64(n)+2)
	excluded := func(p float64) bool {
		return mixture-float64(s)*math.Log(p)-float64(n-s)*math.Log1p(-p) >= math.Log(1/alpha)
	}
	end := func(outer float64) float64 {
		inner := min(max(ratio(s, n), 1e-9), 1-1e-9)
		if !excluded(outer) {
			return outer
		}
		for range 60 {
			if mid := (outer + inner) / 2; excluded(mid) {
				outer = mid
			} else {
				inner = mid
			}
		}
		return outer
	}
	return end(1e-9), end(1 - 1e-9)
}

// broken runs a controller on a rollout at 10 % until it is over, or for as long as
// is given, and returns how long after its start the candidate was rolled back.
func broken(t *testing.T, seed uint64, candidate float64, atMost time.Duration) (took time.Duration, rolledBack bool) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := storetest.Open(t, storetest.SQLite(t), store.Options{})
		fill(t, s, "m")
		f := &traffic{
			random: rand.New(rand.NewPCG(seed, 1)), start: time.Now(), perSecond: 100, share: 0.1,
			baseline: 0.02, candidate: candidate,
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		c := rollout.NewController(s, rollout.Options{Judge: f, Holder: "only"})
		go func() { ended <- c.Run(ctx) }()
		made, err := rollout.New(plan(func(q *registryv1.CreateRolloutRequest) {
			q.Steps = []*registryv1.RolloutStep{
				{Weight: 100_000, MinDuration: durationpb.New(time.Hour)}, {Weight: 1_000_000, MinDuration: durationpb.New(time.Hour)},
			}
		}), "", true)
		check(t, err)
		_, err = s.CreateRollout(t.Context(), "", made, false, rollout.Begin)
		check(t, err)
		deadline := time.Now().Add(atMost)
		for time.Now().Before(deadline) {
			<-time.After(500 * time.Millisecond)
			synctest.Wait()
			r, err := s.GetRollout(t.Context(), "m", "r")
			check(t, err)
			if store.RolloutOver(r) {
				rolledBack = r.GetState() == registryv1.RolloutState_ROLLOUT_STATE_ROLLED_BACK
				took = r.GetEndTime().AsTime().Sub(r.GetStartTime().AsTime())
				break
			}
		}
		cancel()
		check(t, <-ended)
	})
	return took, rolledBack
}

// A candidate whose error rate is 20 % where the baseline's is 2 % is rolled back
// within 10 s at 10 % of 100 requests a second; one that is no worse is left alone.
func TestABrokenCandidateIsRolledBackWithinTenSeconds(t *testing.T) {
	var slowest time.Duration
	for seed := range uint64(8) {
		took, back := broken(t, seed, 0.20, 20*time.Second)
		if !back || took > 10*time.Second {
			t.Errorf("seed %d: rolled back is %v after %v", seed, back, took)
		}
		slowest = max(slowest, took)
	}
	t.Logf("the slowest of 8 took %v", slowest)
	if _, back := broken(t, 1, 0.02, time.Minute); back {
		t.Error("a candidate that is no worse was rolled back")
	}
}
