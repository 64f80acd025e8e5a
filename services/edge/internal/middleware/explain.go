package middleware

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// The outcomes of these steps.
const (
	outcomeAccepted = "accepted"
	outcomeAllowed  = "allowed"
	outcomeRefused  = "refused"
	outcomeAnswered = "answered"
	outcomeFailed   = "failed"
)

// attributeReadyWait is for how long a request waited for its version in vain; inference
// tells it by this name.
const attributeReadyWait = "ready_wait_ms"

// open begins the record of a request that came at start.
func (s *steps) open(ctx context.Context, start time.Time) *audit.Entry {
	entry := audit.NewEntry(s.IDs.New())
	entry.SetAddress(s.Addresses.FromContext(ctx))
	if s.Explain {
		entry.Explain(start, s.now)
	} else {
		entry.Unexplained()
	}
	return entry
}

// conclude notes what the caller got in the end.
func conclude(entry *audit.Entry, rec *audit.Record, err error) {
	d := explain.Decision{Step: explain.Answer, Outcome: outcomeAnswered}
	if err == nil {
		rec.Decisions = entry.Conclude(d)
		return
	}
	if d.Outcome = outcomeFailed; rec.Decision == audit.Refused {
		d.Outcome = outcomeRefused
	}
	e := apierr.From(err)
	d.Detail = why(e)
	d.Attributes = append(make([]explain.Attribute, 0, 3), explain.Attribute{Name: "reason", Value: string(e.Reason)})
	if e.Field != "" {
		d.Attributes = append(d.Attributes, explain.Attribute{Name: "field", Value: e.Field})
	}
	if waited := e.Metadata[attributeReadyWait]; waited != "" {
		d.Attributes = append(d.Attributes, explain.Attribute{Name: attributeReadyWait, Value: waited})
	}
	rec.Decisions = entry.Conclude(d)
}

// why is what the caller was told, unless that may have some of the request in it.
func why(e *apierr.Error) string {
	//exhaustive:ignore
	switch e.Reason {
	case apierr.InvalidArgument, apierr.Internal:
		return ""
	default:
		return e.Message
	}
}

// explainIdentity notes how the caller was recognised.
func explainIdentity(entry *audit.Entry, p *authn.Principal, start time.Time, took time.Duration) {
	by := "api-key"
	switch {
	case p.SessionID != "":
		by = "session"
	case p.Claims != nil:
		by = "token"
	}
	at := [2]explain.Attribute{{Name: "by", Value: by}, {Name: "proof", Value: "possession"}}
	d := explain.Decision{Step: explain.Identity, Outcome: outcomeAccepted, Attributes: at[:1], Start: start, Duration: took}
	if p.Bound {
		d.Attributes = at[:]
	}
	entry.Decide(d)
}

// explainPolicy notes what the policy decided, and what it asks of the request.
func explainPolicy(entry *audit.Entry, v *authz.Verdict, err error, start time.Time, took time.Duration) {
	var at [6]explain.Attribute
	list := at[:0]
	d := explain.Decision{Step: explain.Policy, Outcome: outcomeAllowed, Start: start, Duration: took}
	if err != nil {
		d.Outcome = outcomeRefused
	}
	o := &v.Obligations
	if o.MaxTokens > 0 {
		list = append(list, explain.Attribute{Name: "max_tokens", Value: strconv.Itoa(int(o.MaxTokens))})
	}
	if o.Model != "" {
		list = append(list, explain.Attribute{Name: "model", Value: o.Model})
	}
	if o.Redact {
		list = append(list, explain.Attribute{Name: "redact", Value: "true"})
	}
	if o.Review {
		list = append(list, explain.Attribute{Name: "review", Value: "true"})
	}
	if v.Classes != nil {
		list = append(list, explain.Attribute{Name: "classes", Value: "restricted"})
	}
	if len(v.Models) > 0 {
		list = append(list, explain.Attribute{Name: "versions", Value: "restricted"})
	}
	d.Attributes = list
	entry.Decide(d)
}

// told takes what the limits tell the caller on its way to the header.
type told struct {
	header headers
	md     metadata.MD
}

func (t *told) set(md metadata.MD) error {
	t.md = md
	return t.header.set(md)
}

// explainLimits notes what limits counted the request, and what is left of them, as
// the caller is told it: that says nothing of what tenants share.
func explainLimits(entry *audit.Entry, t *told, err error, start time.Time, took time.Duration) {
	d := explain.Decision{Step: explain.Limits, Outcome: outcomeAllowed, Start: start, Duration: took}
	if err != nil {
		d.Outcome = outcomeRefused
	}
	var at [3]explain.Attribute
	list := at[:0]
	if left := t.md.Get(limit.HeaderRateLimit); len(left) > 0 {
		list = append(list, explain.Attribute{Name: "remaining", Value: left[0]})
		if strings.Contains(left[0], "/"+limit.PerReplica+`"`) {
			list = append(list, explain.Attribute{Name: "degraded", Value: "this replica's share only"})
		}
	}
	if quota := t.md.Get(limit.HeaderRateLimitPolicy); len(quota) > 0 {
		list = append(list, explain.Attribute{Name: "quota", Value: quota[0]})
	}
	d.Attributes = list
	entry.Decide(d)
}

// explainRefusal notes that a step refused before there was more to say.
func explainRefusal(ctx context.Context, step explain.Step, detail string) {
	audit.From(ctx).Decide(explain.Decision{Step: step, Outcome: outcomeRefused, Detail: detail})
}

// costOf is what the caller is told of what the request cost; nil: nothing.
func costOf(entry *audit.Entry) metadata.MD {
	micros, currency := entry.Cost()
	if currency == "" {
		return nil
	}
	return metadata.Pairs(metering.HeaderCost, price.Micros(micros).String()+" "+currency)
}
