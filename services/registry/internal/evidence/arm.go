package evidence

import (
	"cmp"
	"slices"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/outcome"
	"github.com/poterne/poterne/services/registry/internal/sequential"
)

// arm is what the requests of one arm with one version came to.
type arm struct {
	name     string
	version  int32
	sums     *registryv1.OutcomeSums
	segments map[string]*registryv1.OutcomeSums
	prompts  map[promptVersion]int64 // requests
}

// promptVersion is a version of a prompt.
type promptVersion struct {
	prompt string
	number int32
}

func newArm(name string, version int32) *arm {
	return &arm{
		name: name, version: version, sums: new(registryv1.OutcomeSums),
		segments: make(map[string]*registryv1.OutcomeSums), prompts: make(map[promptVersion]int64),
	}
}

func (a *arm) add(o *registryv1.Outcome) {
	segment, sums := o.GetSegment(), o.GetSums()
	if o.GetPrompt() != "" {
		a.prompts[promptVersion{o.GetPrompt(), o.GetPromptVersion()}] += sums.GetRequests()
	}
	outcome.Add(a.sums, sums)
	if a.segments[segment] == nil {
		a.segments[segment] = new(registryv1.OutcomeSums)
	}
	outcome.Add(a.segments[segment], sums)
}

// arms are the arms by name and version.
func arms(outcomes []*registryv1.Outcome) []*arm {
	type key struct {
		name    string
		version int32
	}
	at := make(map[key]*arm)
	var out []*arm
	for _, o := range outcomes {
		k := key{o.GetArm(), o.GetVersion()}
		if at[k] == nil {
			at[k] = newArm(k.name, k.version)
			out = append(out, at[k])
		}
		at[k].add(o)
	}
	slices.SortFunc(out, func(a, b *arm) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.version, b.version))
	})
	return out
}

// The quantities by name.
const (
	ErrorRate     = "error_rate"
	RefusalRate   = "refusal_rate"
	Cost          = "cost"
	Feedback      = "feedback"
	LatencyP50    = "latency_p50"
	LatencyP95    = "latency_p95"
	FirstTokenP50 = "first_token_p50"
	FirstTokenP95 = "first_token_p95"   //nolint:gosec // seconds, not a credential
	TokensRate    = "tokens_per_second" //nolint:gosec // a speed, not a credential
	OutputTokens  = "output_tokens"
)

// means are the quantities that have a mean, in the order that they are told in.
func means() []string {
	return []string{ErrorRate, RefusalRate, Feedback, TokensRate, OutputTokens, Cost}
}

// sample is what was seen of a quantity that has a mean. Of feedback it is the
// displeasure, (1 - score) / 2, from 0 to 1.
func sample(metric string, s *registryv1.OutcomeSums) sequential.Sample {
	moments := func(m *registryv1.Moments) sequential.Sample {
		return sequential.Sample{N: float64(m.GetCount()), Sum: m.GetSum(), SumSquares: m.GetSumSquares()}
	}
	switch metric {
	case ErrorRate:
		return sequential.Count(s.GetErrors(), s.GetRequests())
	case RefusalRate:
		return sequential.Count(s.GetRefusals(), s.GetRequests()-s.GetErrors())
	case Feedback:
		m := moments(s.GetFeedback())
		return sequential.Sample{N: m.N, Sum: (m.N - m.Sum) / 2, SumSquares: (m.N - 2*m.Sum + m.SumSquares) / 4, Unit: true}
	case TokensRate:
		return moments(s.GetTokensPerSecond())
	case OutputTokens:
		return moments(s.GetOutputTokens())
	case Cost:
		return moments(s.GetCost())
	default:
		return sequential.Sample{}
	}
}

// quantile is a quantity that is a quantile of durations.
type quantile struct {
	metric string
	q      float64
	of     func(*registryv1.OutcomeSums) *registryv1.Durations
}

func quantiles() []quantile {
	return []quantile{
		{LatencyP50, 0.5, (*registryv1.OutcomeSums).GetDuration},
		{LatencyP95, 0.95, (*registryv1.OutcomeSums).GetDuration},
		{FirstTokenP50, 0.5, (*registryv1.OutcomeSums).GetFirstToken},
		{FirstTokenP95, 0.95, (*registryv1.OutcomeSums).GetFirstToken},
	}
}

// interval is the quantile in seconds; either bound is wrong with probability side
// at most.
func (q quantile) interval(s *registryv1.OutcomeSums, side float64) sequential.Interval {
	return sequential.Quantile(outcome.Counts(q.of(s)), outcome.Bounds(), q.q, side)
}

// seen is how many durations there are.
func (q quantile) seen(s *registryv1.OutcomeSums) (n int64) {
	for _, c := range q.of(s).GetCounts() {
		n += c
	}
	return n
}
