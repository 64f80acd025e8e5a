package requests

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// The states of a request.
const (
	stateInHand   = "in_hand"
	stateAnswered = "answered"
	stateRefused  = "refused"
	stateFailed   = "failed"
)

func message(r *audit.Record, inHand bool, now time.Time, platform bool) *edgev1.ExplainedRequest {
	out := &edgev1.ExplainedRequest{
		Id: r.RequestID, RecordId: r.ID, State: state(r, inHand), Time: timestamppb.New(r.Time), DurationMs: millis(r.Duration),
		Tenant: r.Tenant, Subject: r.Subject, KeyId: r.KeyID, Address: r.Address, Method: r.Method, Resource: r.Resource,
		ErrorReason: r.Reason, Policy: r.Policy, Rule: r.Rule, Findings: r.Findings, Documents: r.Documents, Cache: r.Cache,
		ServedBy: r.ServedBy, Experiment: r.Experiment, Arm: r.Arm, PromptTokens: r.PromptTokens, CompletionTokens: r.CompletionTokens,
		CostMicros: r.CostMicros, Currency: r.Currency,
	}
	if inHand {
		out.DurationMs = 0
		if !r.Time.IsZero() {
			out.DurationMs = millis(now.Sub(r.Time))
		}
	}
	list, omitted, err := r.Decisions.Decode()
	if err != nil {
		return out // somebody changed it, which its hash tells
	}
	out.Decisions, out.OmittedDecisions = Decisions(list, platform), int32(min(omitted, 1<<30))
	if strings.Contains(r.Method, "/Stream") {
		for _, d := range list {
			if d.Step == explain.Serving {
				out.TimeToFirstTokenMs = millis(d.Start)
				break
			}
		}
	}
	return out
}

func state(r *audit.Record, inHand bool) string {
	switch {
	case inHand:
		return stateInHand
	case r.Decision == audit.Refused:
		return stateRefused
	case r.Reason != "":
		return stateFailed
	default:
		return stateAnswered
	}
}

// Decisions returns what is told of decisions: to the platform all, to others nothing
// of what all tenants share.
func Decisions(list []explain.Noted, platform bool) []*edgev1.RequestDecision {
	out := make([]*edgev1.RequestDecision, 0, len(list))
	for _, d := range list {
		m := &edgev1.RequestDecision{
			Step: string(d.Step), Outcome: d.Outcome, Detail: d.Detail, StartMs: millis(d.Start), DurationMs: millis(d.Duration),
		}
		for _, a := range d.Attributes {
			if platform || !explain.Withheld(a.Name) {
				m.Attributes = append(m.Attributes, &edgev1.RequestDecisionAttribute{Name: a.Name, Value: a.Value})
			}
		}
		out = append(out, m)
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
