package policyserver

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/policy"
)

// maxProblemBytes bounds what an error tells.
const maxProblemBytes = 8192

// problems is a joined error in one line, without our packages' names.
func problems(err error) string {
	text := strings.NewReplacer("\n", "; ", "authz: ", "", "policy: ", "").Replace(err.Error())
	if len(text) > maxProblemBytes {
		text = strings.ToValidUTF8(text[:maxProblemBytes], "") + "…"
	}
	return text
}

// TestPolicy says how requests would be decided.
func (s *Server) TestPolicy(ctx context.Context, req *edgev1.TestPolicyRequest) (*edgev1.TestPolicyResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	leave, err := s.turns.enter(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	snapshot, doc, err := s.asked(ctx, tenant, req.GetVersion(), req.GetDocument(), req.GetSource())
	if err != nil {
		return nil, err
	}
	cases := req.GetCases()
	if len(cases) == 0 {
		cases = doc.GetCases()
	}
	out, budget := &edgev1.TestPolicyResponse{}, policy.NewBudget()
	for _, c := range cases {
		if err := ctx.Err(); err != nil { // nobody waits for it any more
			return nil, err
		}
		r, err := policy.RunCase(snapshot, tenant, s.Space.Platform, c, s.Clock.Now(), budget)
		if err != nil {
			return nil, apierr.Invalid("cases", "%v", err)
		}
		if !r.GetHolds() {
			out.Failed++
		}
		out.Results = append(out.Results, r)
	}
	return out, nil
}

// asked returns the policies that a request asks about: what is in force, a
// version of the tenant's, or a document.
func (s *Server) asked(ctx context.Context, tenant string, version int64, doc *policy.Document, source string) (*authz.Snapshot, *policy.Document, error) {
	doc, err := given(doc, source)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case doc != nil && version > 0:
		return nil, nil, apierr.Invalid("version", "version must not be given besides a document")
	case doc == nil && version == 0:
		st, err := s.Store.State(ctx, tenant)
		if err != nil {
			return nil, nil, storeError(err)
		}
		doc, err = s.document(ctx, tenant, st.Version)
		return s.Authorizer.Current(), doc, err
	case doc == nil:
		if doc, err = s.document(ctx, tenant, version); err != nil {
			return nil, nil, err
		}
		if err := s.Space.Check(tenant, doc); err != nil {
			return nil, nil, refusedDocument(err)
		}
		snapshot, err := s.Follower.Draft(tenant, policy.Name(tenant, version), doc)
		if err != nil {
			return nil, nil, refusedDocument(err)
		}
		return snapshot, doc, nil
	default:
		snapshot, err := s.draft(tenant, doc)
		return snapshot, doc, err
	}
}

// ExplainPolicy says why a request would be decided so. Of the platform's rules a
// tenant sees the names of those that apply, and no more.
func (s *Server) ExplainPolicy(ctx context.Context, req *edgev1.ExplainPolicyRequest) (*edgev1.ExplainPolicyResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	leave, err := s.turns.enter(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	q, err := policy.Ask(tenant, s.Space.Platform, req.GetCase(), s.Clock.Now())
	if err != nil {
		return nil, apierr.Invalid("case", "%s", problems(err))
	}
	snapshot, _, err := s.asked(ctx, tenant, req.GetVersion(), req.GetDocument(), req.GetSource())
	if err != nil {
		return nil, err
	}
	live := q.Models == nil
	if live {
		q.Models = s.Authorizer.ModelsFor(q.Caller.Tenant)
	}
	e := snapshot.Explain(q)
	out := &edgev1.ExplainPolicyResponse{
		Decision: decision(e.Decision.Allowed), Rule: e.Decision.Rule, Policy: e.Decision.Policy, Reason: e.Reason,
		Obligations: policy.Obligations(e.Decision.Obligations), RefusedBy: string(e.Decision.Why), DocumentFilter: e.Decision.Classes.Filter(),
	}
	for _, v := range e.Decision.Versions {
		out.Versions = append(out.Versions, &edgev1.PolicyVersionDecision{
			Version: v.Number, Arm: v.Arm, Experiment: v.Experiment, Shadow: v.Shadow, Decision: decision(v.Allowed), Rule: v.Rule,
		})
	}
	if age, known := s.Models.Age(); live && known && e.AsksModels {
		out.ModelsAge = durationpb.New(age)
	}
	for _, r := range e.Roles {
		out.Roles = append(out.Roles, &edgev1.PolicyRoleOrigin{Role: r.Role, Origin: r.Origin})
	}
	for _, r := range e.Rules {
		m := &edgev1.PolicyRuleExplanation{Rule: r.Name, Effect: r.Effect, Applies: r.Applies}
		if tenant == s.Space.Platform || r.Tenant {
			m.Missing, m.Subject, m.Condition, m.Values = r.Missing, r.Subject, r.Condition, r.Values
		} else if !r.Applies {
			continue
		}
		out.Rules = append(out.Rules, m)
	}
	return out, nil
}

func decision(allowed bool) string {
	if allowed {
		return policy.Allow
	}
	return policy.Deny
}

// StartPolicyDryRun has a version judge live requests beside what is in force.
func (s *Server) StartPolicyDryRun(ctx context.Context, req *edgev1.StartPolicyDryRunRequest) (*edgev1.StartPolicyDryRunResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	if req.GetVersion() > 0 {
		doc, err := s.document(ctx, tenant, req.GetVersion())
		if err != nil {
			return nil, err
		}
		if _, err := s.draft(tenant, doc); err != nil {
			return nil, err
		}
	}
	percent := req.GetPercent()
	if percent == 0 {
		percent = 100
	}
	if err := s.Store.Try(ctx, tenant, req.GetVersion(), percent); err != nil {
		return nil, storeError(err)
	}
	s.changed(ctx, tenant)
	return &edgev1.StartPolicyDryRunResponse{Version: req.GetVersion()}, nil
}

// mostDifferences bounds what is told of a dry run.
const mostDifferences = 100

// GetPolicyDryRun returns what all replicas have seen of a dry run.
func (s *Server) GetPolicyDryRun(ctx context.Context, req *edgev1.GetPolicyDryRunRequest) (*edgev1.GetPolicyDryRunResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	reports, err := s.Reporter.All(ctx, tenant)
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.GetPolicyDryRunResponse{}
	var all []policy.Seen
	for _, r := range reports {
		out.Version = r.Version
		out.Judged += r.Judged
		out.Different += r.Different
		out.Replicas = append(out.Replicas, &edgev1.PolicyDryRunReplica{
			Replica: r.Replica, Judged: r.Judged, Different: r.Different, UpdateTime: timestamppb.New(r.UpdateTime),
		})
		all = append(all, r.Seen...)
	}
	slices.SortStableFunc(all, func(a, b policy.Seen) int { return b.Time.Compare(a.Time) })
	for _, d := range all[:min(len(all), mostDifferences)] {
		out.Differences = append(out.Differences, &edgev1.PolicyDryRunDifference{
			Time: timestamppb.New(d.Time), RequestId: d.RequestID, Tenant: d.Tenant, Subject: d.Subject, Action: d.Action, Resource: d.Resource,
			Decision: d.Decision, Rule: d.Rule, NewDecision: d.NewDecision, NewRule: d.NewRule, Replica: d.Replica,
		})
	}
	return out, nil
}
