package evidence

import (
	"fmt"
	"math"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/sequential"
)

// defaultAlpha is the false-alarm rate of a guardrail that says none.
const defaultAlpha = 0.05

// Known reports whether a guardrail may name the metric.
func Known(metric string) bool {
	switch metric {
	case ErrorRate, LatencyP95, Cost, Feedback:
		return true
	default:
		return false
	}
}

// bounds are the tests of a guardrail: one or two, which share the level.
func (g Guardrail) bounds() (relative, absolute bool, alpha float64) {
	alpha = g.Alpha
	if alpha <= 0 || alpha >= 1 {
		alpha = defaultAlpha
	}
	absolute = g.Max != 0
	relative = g.MaxRelative > 0 || (g.MaxRelative == 0 && !absolute)
	if relative && absolute {
		alpha /= 2
	}
	return relative, absolute, alpha
}

// check returns how the candidate is shown to break the guardrail, or nil.
func (g Guardrail) check(baseline, candidate *arm) *Breach {
	if !Known(g.Metric) {
		return nil
	}
	if g.Metric == LatencyP95 {
		return g.checkLatency(baseline.sums, candidate.sums)
	}
	relative, absolute, alpha := g.bounds()
	a, b := sample(g.Metric, baseline.sums), sample(g.Metric, candidate.sums)
	if relative {
		if worse, bound := sequential.Worse(a, b, g.MaxRelative, alpha); worse {
			return g.relative(g.shown(a.Mean()), g.shown(b.Mean()), bound)
		}
	}
	if absolute {
		// A two-sided sequence at twice the level has one-sided ends at the level.
		m := sequential.Mean(b, min(2*alpha, 0.99))
		bound, beyond := m.Lower, m.Lower > g.Max
		if g.Metric == Feedback {
			bound = 1 - 2*m.Lower
			beyond = bound < g.Max
		}
		if beyond {
			return g.absolute(g.shown(a.Mean()), g.shown(b.Mean()), bound)
		}
	}
	return nil
}

// shown is a mean as people know it: of feedback, the score.
func (g Guardrail) shown(mean float64) float64 {
	if g.Metric == Feedback {
		return 1 - 2*mean
	}
	return mean
}

func (g Guardrail) checkLatency(baseline, candidate *registryv1.OutcomeSums) *Breach {
	p95 := quantiles()[1]
	relative, absolute, alpha := g.bounds()
	if relative {
		a, b := p95.interval(baseline, alpha/2), p95.interval(candidate, alpha/2)
		if b.Lower > (1+g.MaxRelative)*a.Upper {
			return g.relative(a.Estimate, b.Estimate, b.Lower/a.Upper-1)
		}
	}
	if absolute {
		a, b := p95.interval(baseline, alpha), p95.interval(candidate, alpha)
		if b.Lower > g.Max {
			return g.absolute(a.Estimate, b.Estimate, b.Lower)
		}
	}
	return nil
}

func (g Guardrail) relative(baseline, candidate, bound float64) *Breach {
	what := g.Metric
	if g.Metric == Feedback {
		what = "displeasure"
	}
	return &Breach{
		Guardrail: g, Baseline: baseline, Candidate: candidate, Bound: bound,
		Words: fmt.Sprintf("%s is %s beside %s: %s is surely more than %s worse, and may be %s",
			g.Metric, g.value(candidate), g.value(baseline), what, percent(bound), percent(g.MaxRelative)),
	}
}

func (g Guardrail) absolute(baseline, candidate, bound float64) *Breach {
	side, limit := "above", "at most"
	if g.Metric == Feedback {
		side, limit = "below", "at least"
	}
	return &Breach{
		Guardrail: g, Baseline: baseline, Candidate: candidate, Bound: bound,
		Words: fmt.Sprintf("%s is %s: it is surely %s %s, and may be %s %s",
			g.Metric, g.value(candidate), side, g.value(bound), limit, g.value(g.Max)),
	}
}

func (g Guardrail) value(x float64) string {
	switch g.Metric {
	case ErrorRate:
		return percent(x)
	case LatencyP95:
		return fmt.Sprintf("%.3g s", x)
	default:
		return fmt.Sprintf("%.3g", x)
	}
}

func percent(x float64) string {
	if math.Abs(x) >= 10 {
		return fmt.Sprintf("%.0f %%", 100*x)
	}
	return fmt.Sprintf("%.3g %%", 100*x)
}
