package evidence

import "time"

// Guardrail bounds how much worse a candidate may be than the baseline.
type Guardrail struct {
	// Metric is error_rate, latency_p95, cost or feedback.
	Metric string
	// MaxRelative is how much worse than the baseline the candidate may be at
	// most: 0.05 is 5 %, and 0 is not at all, unless there is a Max and nothing else.
	// Max is an absolute bound, 0 for none: a share for error_rate, seconds for
	// latency_p95, cost units a request for cost, and the least mean score for
	// feedback. Of feedback the displeasure is compared, which is (1 - score) / 2.
	// Alpha is the false-alarm rate over the whole
	// experiment, however often it is looked at; 0 means 0.05.
	MaxRelative, Max, Alpha float64
}

// Question asks whether a candidate may go on.
type Question struct {
	// Model and Experiment name where outcomes are taken from; Experiment "" is
	// the model's plain split. Baseline and Candidate are arms.
	Model, Experiment, Baseline, Candidate string
	// BaselineVersion leaves out what another version answered under the baseline's
	// name, which is "" where nothing divides the traffic; 0 leaves out nothing.
	BaselineVersion int32
	// Since leaves out what was counted before; the zero time takes everything.
	Since      time.Time
	Guardrails []Guardrail
	// MinRequests is how many requests each arm needs before there is a verdict
	// that all is well. A breach counts as soon as it is certain.
	MinRequests int64
}

// Breach is a guardrail that the candidate is shown to have broken.
type Breach struct {
	Guardrail Guardrail
	// Baseline and Candidate are the estimates, Bound is the end of the
	// confidence sequence that lies beyond what is allowed.
	Baseline, Candidate, Bound float64
	// Words say it for people.
	Words string
}

// Judgement is the answer to a Question.
type Judgement struct {
	// Requests are counted by arm.
	Requests map[string]int64
	Breaches []Breach
	// Mismatch says that the arms' shares are not those of the split, and which;
	// empty when they may be. Nothing else is to be concluded then.
	Mismatch string
	// Enough says that each arm has MinRequests.
	Enough bool
}
