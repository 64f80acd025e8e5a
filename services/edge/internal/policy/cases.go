package policy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// The decisions of a case.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Ask makes a question of a case of a tenant's policy. now is when it is asked
// where the case does not say.
func Ask(tenant, platform string, c *edgev1.PolicyCase, now time.Time) (authz.Question, error) {
	caller := identity.NewCaller(or(c.GetCaller().GetTenant(), tenant), or(c.GetCaller().GetSubject(), "somebody"),
		c.GetCaller().GetRoles(), c.GetCaller().GetGroups())
	q := authz.Question{
		Caller: caller, Action: c.GetAction(),
		Resource: authz.Resource{
			Type: c.GetResource().GetType(), ID: c.GetResource().GetId(),
			Tenant: or(c.GetResource().GetTenant(), caller.Tenant),
		},
		About: authz.About{Reference: c.GetContext().GetModelReference(), RequestedTokens: c.GetContext().GetRequestedTokens()},
		Facts: authz.Facts{Now: now, MTLS: c.GetContext().GetMtls(), Bound: c.GetContext().GetBound()},
	}
	if c.GetResource().GetTenant() == "" && authz.OfPlatform(q.Resource.Type) {
		q.Resource.Tenant = platform
	}
	if tenant != platform && (caller.Tenant != tenant || q.Resource.Tenant != tenant && q.Resource.Tenant != platform) {
		return q, errors.New("a tenant's cases are about its own callers, and its own or the platform's resources")
	}
	if err := authz.CheckPermission(authz.Permissions(), q.Resource.Type, q.Action); err != nil || strings.ContainsAny(q.Resource.Type+q.Action, "*|") {
		return q, errors.Join(errors.New("a case is about one type and action that exist"), err)
	}
	if text := c.GetContext().GetAddress(); text != "" {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return q, fmt.Errorf("%.64q is not an address", text)
		}
		q.Facts.Address = addr
	}
	if t := c.GetContext().GetTime(); t != nil {
		if err := t.CheckValid(); err != nil {
			return q, errors.New("the time is none")
		}
		q.Facts.Now = t.AsTime()
	}
	if age := c.GetContext().GetTokenAge(); age != nil {
		if err := age.CheckValid(); err != nil || age.AsDuration() < 0 {
			return q, errors.New("the token's age is none")
		}
		q.Facts.IssueTime = q.Facts.Now.Add(-age.AsDuration())
	}
	if about := c.GetContext(); about != nil {
		q.About.Class = about.DocumentClass
	}
	if m := c.GetContext().GetModel(); m != nil {
		q.Models = func(string, string) (*authz.ModelFacts, error) { return modelFacts(m), nil }
	}
	if claims := c.GetCaller().GetClaims(); claims != nil {
		q.Facts.Claims = claims.AsMap()
	}
	return q, nil
}

// modelFacts is what a case says of the model and of the version that answers.
func modelFacts(m *edgev1.PolicyModelFacts) *authz.ModelFacts {
	return &authz.ModelFacts{Labels: m.GetLabels(), Versions: []authz.ModelVersion{{
		Number: m.GetVersion(), Digest: m.GetDigest(), Labels: m.GetVersionLabels(), Aliases: m.GetAliases(),
		Arm: m.GetArm(), Experiment: m.GetExperiment(),
	}}}
}

// casesCost bounds what the conditions asked by the cases of one call may take
// together, in CEL's units: about half a second.
const casesCost = 2_000_000

// ErrCost says that cases take longer than one call may.
var ErrCost = errors.New("the conditions that the cases ask take too long together: give fewer cases at once")

// Budget is what the cases of one call may still take. Its zero value is nothing.
type Budget struct{ left uint64 }

// NewBudget is that of a call.
func NewBudget() *Budget { return &Budget{left: casesCost} }

// RunCase says how a case is decided, and whether as it must be. The error is ErrCost.
func RunCase(s *authz.Snapshot, tenant, platform string, c *edgev1.PolicyCase, now time.Time, b *Budget) (*edgev1.PolicyTestResult, error) {
	out := &edgev1.PolicyTestResult{Name: c.GetName()}
	q, err := Ask(tenant, platform, c, now)
	if err != nil {
		out.Problem = err.Error()
		return out, nil //nolint:nilerr // it is the case's
	}
	if b.left == 0 {
		return nil, ErrCost
	}
	d := s.Decide(q)
	b.left -= min(b.left, d.Cost)
	out.Decision, out.Rule, out.Obligations, out.RefusedBy = decisionText(d.Allowed), d.Rule, obligations(d.Obligations), string(d.Why)
	switch {
	case c.GetExpect() != "" && c.GetExpect() != out.GetDecision():
		out.Problem = fmt.Sprintf("expected %s, got %s", c.GetExpect(), out.GetDecision())
		if d.Rule != "" {
			out.Problem += " by " + d.Rule
		}
		if d.Failure != nil {
			out.Problem += ": " + d.Failure.Error()
		}
	case c.GetRule() != "" && c.GetRule() != d.Rule && !strings.HasSuffix(d.Rule, "/"+c.GetRule()):
		out.Problem = fmt.Sprintf("expected the rule %s, got %q", c.GetRule(), d.Rule)
	case c.GetObligations() != nil && obligationSet(c.GetObligations()) != d.Obligations:
		out.Problem = fmt.Sprintf("expected the obligations %s, got %s", obligationText(obligationSet(c.GetObligations())), obligationText(d.Obligations))
	default:
		out.Holds = true
	}
	return out, nil
}

func decisionText(allowed bool) string {
	if allowed {
		return Allow
	}
	return Deny
}

func obligationText(o obligation.Set) string {
	var words []string
	if o.MaxTokens > 0 {
		words = append(words, fmt.Sprintf("max_tokens=%d", o.MaxTokens))
	}
	if o.Model != "" {
		words = append(words, "model="+o.Model)
	}
	if o.Redact {
		words = append(words, "redact")
	}
	if o.Review {
		words = append(words, "review")
	}
	return "[" + strings.Join(words, " ") + "]"
}

// RunCases returns a document's cases that do not hold, joined.
func RunCases(ctx context.Context, s *authz.Snapshot, tenant, platform string, doc *Document, now time.Time) error {
	var errs []error
	budget := NewBudget()
	for i, c := range doc.GetCases() {
		if ctx.Err() != nil { // nobody waits for it any more
			return context.Cause(ctx)
		}
		if c.GetExpect() == "" {
			errs = append(errs, fmt.Errorf("case %d (%s): it must expect allow or deny", i+1, c.GetName()))
			continue
		}
		r, err := RunCase(s, tenant, platform, c, now, budget)
		if err != nil {
			return err
		}
		if !r.GetHolds() && len(errs) < maxProblems {
			errs = append(errs, fmt.Errorf("case %d (%s): %s", i+1, c.GetName(), r.GetProblem()))
		}
	}
	return errors.Join(errs...)
}
