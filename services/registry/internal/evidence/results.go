package evidence

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/sequential"
)

// The bounds of one answer.
const (
	maxArms     = 64
	maxSegments = 32
)

// Wanted asks for results. Zero values take the defaults.
type Wanted struct {
	Model, Experiment string
	// Baseline is an arm; empty is the one with the most requests.
	Baseline string
	Since    time.Time
	// Alpha is 0.05 by default, MinRequests 1000, MaxRelative 0.05.
	Alpha       float64
	MinRequests int64
	MaxRelative float64
}

func (w Wanted) withDefaults() Wanted {
	if w.Alpha <= 0 {
		w.Alpha = defaultAlpha
	}
	if w.MinRequests <= 0 {
		w.MinRequests = 1000
	}
	switch {
	case w.MaxRelative == 0:
		w.MaxRelative = 0.05
	case w.MaxRelative < 0:
		w.MaxRelative = 0
	}
	return w
}

// Results returns what requests came to. A baseline that is no arm is
// INVALID_ARGUMENT.
func (k *Keeper) Results(ctx context.Context, w Wanted) (*registryv1.Results, error) {
	w = w.withDefaults()
	ev, err := k.source.Evidence(ctx, w.Model, w.Experiment, w.Since)
	if err != nil {
		return nil, err
	}
	all := arms(ev.Outcomes)
	if len(all) > maxArms {
		slices.SortStableFunc(all, moreRequests)
		all = all[:maxArms]
	}
	baseline, err := chooseBaseline(all, w.Baseline)
	if err != nil {
		return nil, err
	}
	srm := sampleRatio(ev.Exposed)
	out := &registryv1.Results{
		Model: w.Model, Experiment: w.Experiment, Alpha: w.Alpha, Dropped: ev.Dropped,
		SampleRatio: &registryv1.SampleRatio{PValue: srm.pValue, Mismatch: srm.mismatch, Words: srm.words, Subjects: srm.subjects},
	}
	if baseline != nil {
		out.Baseline = baseline.name
	}
	for _, a := range all {
		r := a.results(w.Alpha)
		if a != baseline && a.name != "" && baseline != nil {
			r.Effects = effects(baseline.sums, a.sums, w.Alpha)
			if !srm.mismatch {
				r.Breaches = w.breaches(baseline, a)
			}
		}
		out.Arms = append(out.Arms, r)
	}
	out.Verdict, out.Words = w.verdict(srm, all, out.GetArms())
	return out, nil
}

func moreRequests(a, b *arm) int { return cmp.Compare(b.sums.GetRequests(), a.sums.GetRequests()) }

func chooseBaseline(all []*arm, name string) (*arm, error) {
	var best *arm
	for _, a := range all {
		if a.name == "" || (name != "" && a.name != name) {
			continue
		}
		if best == nil || a.sums.GetRequests() > best.sums.GetRequests() {
			best = a
		}
	}
	if name != "" && best == nil {
		return nil, apierr.Invalid("baseline", "no request was counted in an arm %q", name)
	}
	return best, nil
}

func (w Wanted) breaches(baseline, candidate *arm) []*registryv1.BreachedGuardrail {
	var out []*registryv1.BreachedGuardrail
	for _, metric := range []string{ErrorRate, LatencyP95, Cost, Feedback} {
		g := Guardrail{Metric: metric, MaxRelative: w.MaxRelative, Alpha: w.Alpha}
		if b := g.check(baseline, candidate); b != nil {
			out = append(out, &registryv1.BreachedGuardrail{
				Metric: metric, Baseline: b.Baseline, Candidate: b.Candidate, Bound: b.Bound, Words: b.Words,
			})
		}
	}
	return out
}

func (w Wanted) verdict(srm ratio, all []*arm, results []*registryv1.ArmResults) (registryv1.Verdict, string) {
	if srm.mismatch {
		return registryv1.Verdict_VERDICT_SAMPLE_RATIO_MISMATCH, srm.words
	}
	var words, few []string
	named := 0
	for i, a := range all {
		if a.name == "" {
			continue
		}
		named++
		for _, b := range results[i].GetBreaches() {
			words = append(words, fmt.Sprintf("arm %s: %s", a.name, b.GetWords()))
		}
		if a.sums.GetRequests() < w.MinRequests {
			few = append(few, fmt.Sprintf("arm %s has %d requests of %d", a.name, a.sums.GetRequests(), w.MinRequests))
		}
	}
	switch {
	case len(words) > 0:
		return registryv1.Verdict_VERDICT_BREACH, strings.Join(words, "; ")
	case named < 2:
		return registryv1.Verdict_VERDICT_NOT_ENOUGH, "fewer than two arms had requests"
	case len(few) > 0:
		return registryv1.Verdict_VERDICT_NOT_ENOUGH, strings.Join(few, "; ")
	default:
		return registryv1.Verdict_VERDICT_NO_BREACH, fmt.Sprintf("no arm is shown to be more than %s worse than the baseline", percent(w.MaxRelative))
	}
}

func (a *arm) results(alpha float64) *registryv1.ArmResults {
	out := &registryv1.ArmResults{Arm: a.name, Version: a.version, Sums: a.sums, Estimates: estimates(a.sums, alpha)}
	for p, requests := range a.prompts {
		out.Prompts = append(out.Prompts, &registryv1.ArmPrompt{Prompt: p.prompt, Version: p.number, Requests: requests})
	}
	slices.SortFunc(out.Prompts, func(x, y *registryv1.ArmPrompt) int {
		return cmp.Or(cmp.Compare(x.GetPrompt(), y.GetPrompt()), cmp.Compare(x.GetVersion(), y.GetVersion()))
	})
	if len(a.segments) == 1 && a.segments[""] != nil {
		return out
	}
	for name, sums := range a.segments {
		if sums.GetRequests() == 0 {
			continue // verdicts, which have no segment
		}
		out.Segments = append(out.Segments, &registryv1.SegmentResults{
			Segment: name, Requests: sums.GetRequests(), Estimates: estimates(sums, alpha),
		})
	}
	slices.SortFunc(out.Segments, func(x, y *registryv1.SegmentResults) int {
		return cmp.Or(cmp.Compare(y.GetRequests(), x.GetRequests()), cmp.Compare(x.GetSegment(), y.GetSegment()))
	})
	out.Segments = out.Segments[:min(len(out.Segments), maxSegments)]
	return out
}

// estimates are those of everything that was seen.
func estimates(s *registryv1.OutcomeSums, alpha float64) []*registryv1.Estimate {
	var out []*registryv1.Estimate
	for _, metric := range means() {
		x := sample(metric, s)
		if x.N <= 0 {
			continue
		}
		i := sequential.Mean(x, alpha)
		if metric == Feedback {
			i = sequential.Interval{Estimate: 1 - 2*i.Estimate, Lower: 1 - 2*i.Upper, Upper: 1 - 2*i.Lower}
		}
		out = append(out, estimate(metric, i))
	}
	for _, q := range quantiles() {
		if q.seen(s) > 0 {
			out = append(out, estimate(q.metric, q.interval(s, alpha/2)))
		}
	}
	return out
}

// effects are the relative effects of what was seen in both arms.
func effects(a, b *registryv1.OutcomeSums, alpha float64) []*registryv1.Estimate {
	var out []*registryv1.Estimate
	for _, metric := range means() {
		x, y := sample(metric, a), sample(metric, b)
		if x.N > 0 && y.N > 0 {
			out = append(out, estimate(metric, sequential.Ratio(x, y, alpha)))
		}
	}
	for _, q := range quantiles() {
		if q.seen(a) == 0 || q.seen(b) == 0 {
			continue
		}
		x, y := q.interval(a, alpha/4), q.interval(b, alpha/4)
		i := sequential.Interval{Estimate: y.Estimate/x.Estimate - 1, Lower: y.Lower/x.Upper - 1, Upper: math.Inf(1)}
		if x.Lower > 0 {
			i.Upper = y.Upper/x.Lower - 1
		}
		out = append(out, estimate(q.metric, i))
	}
	return out
}

// estimate leaves out what is not known.
func estimate(metric string, i sequential.Interval) *registryv1.Estimate {
	known := func(x float64) *float64 {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil
		}
		return &x
	}
	return &registryv1.Estimate{Metric: metric, Value: known(i.Estimate), Lower: known(i.Lower), Upper: known(i.Upper)}
}
