package api

import (
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/inference/internal/outcomes"
)

// Outcomes counts what requests came to. It must not wait.
type Outcomes interface {
	Record(o outcomes.Outcome)
}

// count tells what the request came to, unless it ran no model.
func (s *Server) count(j job, err error, now time.Time) {
	if s.opts.Outcomes == nil || j.operation == operationCount || j.operation == operationTensorModel {
		return
	}
	o := outcomes.Outcome{
		Model: j.model, Target: j.target, Key: j.query.Key, Tenant: j.query.Tenant, Refused: j.refused,
		Duration: now.Sub(j.began), PromptTokens: -1, OutputTokens: -1,
	}
	if j.prompt != nil {
		o.Prompt, o.PromptVersion = j.prompt.Prompt, j.prompt.Number
	}
	if o.Target.Key != "" {
		o.Key = o.Target.Key
	}
	if o.Target.Division == nil { // a tester's arm says nothing of whom it falls to
		o.Target.Arm = ""
	}
	if err != nil {
		o.Reason = apierr.ReasonOf(err)
	}
	if !j.first.IsZero() {
		o.First = j.first.Sub(j.began)
	}
	if j.usage != nil {
		o.PromptTokens, o.OutputTokens = int64(j.usage.GetPromptTokens()), int64(j.usage.GetCompletionTokens())
	}
	s.opts.Outcomes.Record(o)
}
