// Package explain keeps what was decided about one request, in the order in which
// it was decided, so that whoever asks afterwards why it went as it did gets one
// answer. It decides nothing itself. Start reading at Decision, and at Notes, which
// gathers them.
package explain

import "time"

// Step is who decided.
type Step string

// The steps, in the order in which a request meets them.
const (
	// Batch is that a request is a line of a batch, made on behalf of its maker.
	Batch     Step = "batch"
	Identity  Step = "identity"
	Policy    Step = "policy"
	Limits    Step = "limits"
	Detectors Step = "detectors"
	Cache     Step = "cache"
	Memory    Step = "memory"
	Retrieval Step = "retrieval"
	Route     Step = "route"
	Budget    Step = "budget"
	// Attempt is one try at one model; a request that is retried or falls back has several.
	Attempt Step = "attempt"
	// Serving is which version and worker an attempt came to.
	Serving Step = "serving"
	Usage   Step = "usage"
	// Answer is what the caller got in the end; every request has one, as its last.
	Answer Step = "answer"
)

// Attribute is one fact of a decision.
type Attribute struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Decision is what one step decided. It never holds what a prompt, a passage or an
// answer says, nor a credential.
type Decision struct {
	Step Step
	// Outcome is what came of it, of the step's own small set: allowed, refused, hit,
	// miss, dropped, failed.
	Outcome string
	// Detail says why, for people; at most MaxText bytes of it are kept.
	Detail string
	// Attributes are the facts, at most MaxAttributes of them.
	Attributes []Attribute
	// Start is when the step began; the zero value: when the decision was noted.
	Start time.Time
	// Duration is how long it took; 0 where that is not worth saying.
	Duration time.Duration
}

const (
	// MaxDecisions is how many of one request are kept; later ones are counted.
	MaxDecisions = 64
	// MaxAttributes bounds the facts of one decision.
	MaxAttributes = 32
	// MaxText bounds each text, in bytes.
	MaxText = 256
	// MaxBytes bounds all decisions of one request, as they are kept.
	MaxBytes = 8 << 10
)

// The names of attributes that only the platform's administrators see.
const (
	// AttributeWorker says which worker it was: workers are all tenants'.
	AttributeWorker = "worker"
	// AttributeWithheld is a model that the caller may not have: who may not is not told
	// that there is one.
	AttributeWithheld = "withheld_model"
)

// Withheld reports whether only the platform's administrators see attributes of a name.
func Withheld(name string) bool { return name == AttributeWorker || name == AttributeWithheld }
