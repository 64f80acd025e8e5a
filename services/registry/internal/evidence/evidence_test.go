package evidence_test

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/evidence"
	"github.com/poterne/poterne/services/registry/internal/outcome"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// sums is a source that has what the test says.
type sums struct{ found store.Evidence }

func (s *sums) Evidence(context.Context, string, string, time.Time) (*store.Evidence, error) {
	return &s.found, nil
}

func (*sums) TidyOutcomes(context.Context) error { return nil }

func keeper(e store.Evidence) *evidence.Keeper {
	return evidence.New(&sums{e}, clock.Real(), slog.New(slog.DiscardHandler))
}

// requests are those of an arm, whose durations are all in one bucket.
func requests(arm string, n, errors int64, bucket int) *registryv1.Outcome {
	return &registryv1.Outcome{Model: "m", Arm: arm, Version: 1, Sums: &registryv1.OutcomeSums{
		Requests: n, Errors: errors, Duration: durations(map[int]int64{bucket: n}),
		Cost: &registryv1.Moments{Count: n, Sum: 2 * float64(n), SumSquares: 5 * float64(n)},
	}}
}

func durations(counts map[int]int64) *registryv1.Durations {
	d := &registryv1.Durations{Counts: make([]int64, outcome.Buckets)}
	for i, n := range counts {
		d.Counts[i] = n
	}
	return d
}

func exposed(a, b int64) []store.Exposed {
	return []store.Exposed{{Etag: "1", Arms: []string{"a", "b"}, Weights: []int32{900_000, 100_000}, Subjects: []int64{a, b}}}
}

func question(guardrails ...evidence.Guardrail) evidence.Question {
	return evidence.Question{Model: "m", Baseline: "a", Candidate: "b", Guardrails: guardrails, MinRequests: 100}
}

func all() []evidence.Guardrail {
	var out []evidence.Guardrail
	for _, m := range []string{evidence.ErrorRate, evidence.LatencyP95, evidence.Cost, evidence.Feedback} {
		out = append(out, evidence.Guardrail{Metric: m, MaxRelative: 0.05})
	}
	return out
}

func judge(t *testing.T, e store.Evidence, q evidence.Question) evidence.Judgement {
	t.Helper()
	j, err := keeper(e).Judge(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestABrokenCandidateIsFoundEarly(t *testing.T) {
	e := store.Evidence{Outcomes: []*registryv1.Outcome{requests("a", 450, 9, 80), requests("b", 50, 10, 80)}, Exposed: exposed(450, 50)}
	j := judge(t, e, question(all()...))
	if len(j.Breaches) != 1 || j.Breaches[0].Guardrail.Metric != evidence.ErrorRate || j.Enough || j.Mismatch != "" {
		t.Fatalf("judged %+v", j)
	}
	if b := j.Breaches[0]; b.Baseline != 0.02 || b.Candidate != 0.2 || b.Bound < 0.05 || !strings.Contains(b.Words, "error_rate is 20 % beside 2 %") {
		t.Errorf("the breach is %+v", b)
	}
	if j.Requests["a"] != 450 || j.Requests["b"] != 50 {
		t.Errorf("requests are %v", j.Requests)
	}
}

func TestAGoodCandidateIsLeftAlone(t *testing.T) {
	e := store.Evidence{Outcomes: []*registryv1.Outcome{requests("a", 45_000, 900, 80), requests("b", 5000, 104, 80)}, Exposed: exposed(4500, 500)}
	if j := judge(t, e, question(all()...)); len(j.Breaches) > 0 || !j.Enough {
		t.Errorf("judged %+v", j)
	}
	// An arm of which nothing was seen is no breach, and not enough.
	if j := judge(t, store.Evidence{Outcomes: e.Outcomes[:1]}, question(all()...)); len(j.Breaches) > 0 || j.Enough {
		t.Errorf("judged %+v", j)
	}
}

func slower(s *registryv1.OutcomeSums) { s.Duration = durations(map[int]int64{80: 3600, 90: 400}) }

func TestEveryGuardrail(t *testing.T) {
	a, b := requests("a", 4000, 40, 80), requests("b", 4000, 40, 80)
	a.Sums.Feedback = &registryv1.Moments{Count: 400, Sum: 200, SumSquares: 400}
	b.Sums.Feedback = &registryv1.Moments{Count: 400, Sum: 200, SumSquares: 400}
	for name, tt := range map[string]struct {
		change func(*registryv1.OutcomeSums)
		rail   evidence.Guardrail
	}{
		"errors":               {func(s *registryv1.OutcomeSums) { s.Errors = 120 }, evidence.Guardrail{Metric: evidence.ErrorRate, MaxRelative: 0.05}},
		"errors at all":        {func(s *registryv1.OutcomeSums) { s.Errors = 100 }, evidence.Guardrail{Metric: evidence.ErrorRate}},
		"errors, absolutely":   {func(s *registryv1.OutcomeSums) { s.Errors = 400 }, evidence.Guardrail{Metric: evidence.ErrorRate, Max: 0.05}},
		"latency":              {slower, evidence.Guardrail{Metric: evidence.LatencyP95, MaxRelative: 0.05}},
		"latency, absolutely":  {slower, evidence.Guardrail{Metric: evidence.LatencyP95, Max: 1.5}},
		"cost":                 {func(s *registryv1.OutcomeSums) { s.Cost.Sum, s.Cost.SumSquares = 12_000, 40_000 }, evidence.Guardrail{Metric: evidence.Cost, MaxRelative: 0.1}},
		"cost, absolutely":     {func(s *registryv1.OutcomeSums) { s.Cost.Sum, s.Cost.SumSquares = 12_000, 40_000 }, evidence.Guardrail{Metric: evidence.Cost, Max: 2.5}},
		"feedback":             {func(s *registryv1.OutcomeSums) { s.Feedback.Sum = -100 }, evidence.Guardrail{Metric: evidence.Feedback, MaxRelative: 0.1}},
		"feedback, absolutely": {func(s *registryv1.OutcomeSums) { s.Feedback.Sum = -100 }, evidence.Guardrail{Metric: evidence.Feedback, Max: 0.2}},
	} {
		t.Run(name, func(t *testing.T) {
			if j := judge(t, store.Evidence{Outcomes: []*registryv1.Outcome{a, b}}, question(tt.rail)); len(j.Breaches) > 0 {
				t.Errorf("the same is a breach: %+v", j.Breaches)
			}
			worse := requests("b", 4000, 40, 80)
			worse.Sums.Feedback = &registryv1.Moments{Count: 400, Sum: 200, SumSquares: 400}
			tt.change(worse.Sums)
			j := judge(t, store.Evidence{Outcomes: []*registryv1.Outcome{a, worse}}, question(tt.rail))
			if len(j.Breaches) != 1 || j.Breaches[0].Words == "" {
				t.Fatalf("judged %+v", j)
			}
			t.Log(j.Breaches[0].Words)
		})
	}
}

func TestAMismatchBlocksEveryVerdict(t *testing.T) {
	e := store.Evidence{Outcomes: []*registryv1.Outcome{requests("a", 4500, 90, 80), requests("b", 500, 400, 80)}, Exposed: exposed(700, 300)}
	j := judge(t, e, question(all()...))
	if j.Mismatch == "" || len(j.Breaches) > 0 {
		t.Errorf("judged %+v", j)
	}
	r, err := keeper(e).Results(t.Context(), evidence.Wanted{Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if r.GetVerdict() != registryv1.Verdict_VERDICT_SAMPLE_RATIO_MISMATCH || !r.GetSampleRatio().GetMismatch() ||
		!strings.Contains(r.GetWords(), "b has 300 and should have about 100") {
		t.Errorf("results say %v: %s", r.GetVerdict(), r.GetWords())
	}
	// Weights that changed are no mismatch.
	e.Exposed = []store.Exposed{
		{Etag: "1", Arms: []string{"a", "b"}, Weights: []int32{990_000, 10_000}, Subjects: []int64{990, 10}},
		{Etag: "2", Arms: []string{"a", "b"}, Weights: []int32{500_000, 500_000}, Subjects: []int64{500, 500}},
	}
	if j := judge(t, e, question(all()...)); j.Mismatch != "" || len(j.Breaches) == 0 {
		t.Errorf("judged %+v", j)
	}
}

func TestResults(t *testing.T) {
	gold := requests("b", 500, 5, 80)
	gold.Segment = "gold"
	e := store.Evidence{Outcomes: []*registryv1.Outcome{
		requests("a", 4000, 40, 80), requests("b", 1500, 15, 80), gold, requests("", 70, 7, 80),
	}, Exposed: exposed(900, 100), Dropped: 3}
	r, err := keeper(e).Results(t.Context(), evidence.Wanted{Model: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if r.GetBaseline() != "a" || len(r.GetArms()) != 3 || r.GetDropped() != 3 || r.GetVerdict() != registryv1.Verdict_VERDICT_NO_BREACH {
		t.Fatalf("results are %v", r)
	}
	b := r.GetArms()[2]
	if b.GetArm() != "b" || b.GetSums().GetRequests() != 2000 || len(b.GetSegments()) != 2 || b.GetSegments()[1].GetSegment() != "gold" {
		t.Errorf("arm b is %v", b)
	}
	rate := b.GetEstimates()[0]
	if rate.GetMetric() != evidence.ErrorRate || rate.GetValue() != 0.01 || rate.GetLower() >= 0.01 || rate.GetUpper() <= 0.01 {
		t.Errorf("the error rate is %v", rate)
	}
	effect := b.GetEffects()[0]
	if effect.GetMetric() != evidence.ErrorRate || math.Abs(effect.GetValue()) > 1e-9 || effect.GetLower() >= 0 || effect.GetUpper() <= 0 {
		t.Errorf("its effect is %v", effect)
	}
	if len(r.GetArms()[0].GetEffects()) > 0 {
		t.Error("requests of no arm are compared")
	}
	_, err = keeper(e).Results(t.Context(), evidence.Wanted{Model: "m", Baseline: "c"})
	if a := apierr.From(err); a == nil || a.Field != "baseline" {
		t.Errorf("a baseline that is none: %v", err)
	}
	few, err := keeper(e).Results(t.Context(), evidence.Wanted{Model: "m", MinRequests: 5000})
	if err != nil || few.GetVerdict() != registryv1.Verdict_VERDICT_NOT_ENOUGH {
		t.Errorf("%v, %v", few.GetVerdict(), err)
	}
	none, err := keeper(store.Evidence{}).Results(t.Context(), evidence.Wanted{Model: "m"})
	if err != nil || none.GetVerdict() != registryv1.Verdict_VERDICT_NOT_ENOUGH || none.GetSampleRatio().GetPValue() != 1 {
		t.Errorf("%v, %v", none, err)
	}
}
