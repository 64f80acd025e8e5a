package policyserver

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/policy"
)

// CreatePolicyVersion keeps a new version, once it compiles and its cases hold.
func (s *Server) CreatePolicyVersion(ctx context.Context, req *edgev1.CreatePolicyVersionRequest) (*edgev1.CreatePolicyVersionResponse, error) {
	c, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	leave, err := s.turns.enter(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	doc, err := given(req.GetDocument(), req.GetSource())
	if err != nil {
		return nil, err
	}
	if doc == nil {
		return nil, apierr.Invalid("document", "document, or source, is required")
	}
	etagWanted, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	draft, err := s.draft(tenant, doc)
	if err != nil {
		return nil, err
	}
	if err := policy.RunCases(ctx, draft, tenant, s.Space.Platform, doc, s.Clock.Now()); err != nil {
		return nil, refusedDocument(err)
	}
	v, err := policy.NewVersion(tenant, doc, author(c), req.GetMessage(), s.Clock.Now().Truncate(time.Microsecond))
	if err != nil {
		return nil, err
	}
	if req.GetActivate() {
		if err := s.mayActivate(ctx, c, tenant, draft, req.GetForce()); err != nil {
			return nil, err
		}
	}
	switch {
	case req.GetValidateOnly():
		return &edgev1.CreatePolicyVersionResponse{Version: message(v)}, nil
	case !req.GetActivate():
		if v, err = s.Store.Create(ctx, v); err != nil {
			return nil, storeError(err)
		}
		return &edgev1.CreatePolicyVersionResponse{Version: message(v)}, nil
	default:
		v, st, err := s.Store.CreateActive(ctx, v, etagWanted)
		if err != nil {
			return nil, storeError(err)
		}
		s.changed(ctx, tenant)
		return &edgev1.CreatePolicyVersionResponse{Version: message(v), Etag: etag(st.ETag)}, nil
	}
}

// ActivatePolicy puts a version into force.
func (s *Server) ActivatePolicy(ctx context.Context, req *edgev1.ActivatePolicyRequest) (*edgev1.ActivatePolicyResponse, error) {
	c, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	if req.GetVersion() == 0 {
		return nil, apierr.Invalid("version", "version is required: which one to put into force; policies:deactivate takes the policy out of force")
	}
	etagWanted, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	leave, err := s.turns.enter(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.checkOld(ctx, c, tenant, req.GetVersion(), req.GetForce()); err != nil {
		return nil, err
	}
	st, err := s.Store.Activate(ctx, tenant, req.GetVersion(), etagWanted)
	if err != nil {
		return nil, storeError(err)
	}
	s.changed(ctx, tenant)
	return &edgev1.ActivatePolicyResponse{Version: st.Version, Etag: etag(st.ETag)}, nil
}

// DeactivatePolicy takes the policy out of force.
func (s *Server) DeactivatePolicy(ctx context.Context, req *edgev1.DeactivatePolicyRequest) (*edgev1.DeactivatePolicyResponse, error) {
	c, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	etagWanted, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	before, err := s.Store.State(ctx, tenant)
	if err != nil {
		return nil, storeError(err)
	}
	if before.Version == 0 {
		return nil, apierr.New(apierr.FailedPrecondition, "the tenant has no policy in force")
	}
	if etagWanted == policy.AnyETag {
		etagWanted = before.ETag // what is told to have been in force was
	}
	leave, err := s.turns.enter(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.checkOld(ctx, c, tenant, 0, req.GetForce()); err != nil {
		return nil, err
	}
	st, err := s.Store.Activate(ctx, tenant, 0, etagWanted)
	if err != nil {
		return nil, storeError(err)
	}
	s.changed(ctx, tenant)
	return &edgev1.DeactivatePolicyResponse{Version: before.Version, Etag: etag(st.ETag)}, nil
}

// RollbackPolicy puts a new version that equals an old one into force.
func (s *Server) RollbackPolicy(ctx context.Context, req *edgev1.RollbackPolicyRequest) (*edgev1.RollbackPolicyResponse, error) {
	c, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	etagWanted, err := readETag(req.GetEtag())
	if err != nil {
		return nil, err
	}
	leave, err := s.turns.enter(ctx, tenant)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := s.checkOld(ctx, c, tenant, req.GetVersion(), req.GetForce()); err != nil {
		return nil, err
	}
	v, err := s.Store.Get(ctx, tenant, req.GetVersion())
	if err != nil {
		return nil, storeError(err)
	}
	v.Author, v.CreateTime = author(c), s.Clock.Now().Truncate(time.Microsecond)
	if v.Message = req.GetMessage(); v.Message == "" {
		v.Message = "back to version " + etag(req.GetVersion())
	}
	v, st, err := s.Store.CreateActive(ctx, v, etagWanted)
	if err != nil {
		return nil, storeError(err)
	}
	s.changed(ctx, tenant)
	return &edgev1.RollbackPolicyResponse{Version: message(v), Etag: etag(st.ETag)}, nil
}

// checkOld looks at a version of old again: what it is put together with may have
// changed since.
func (s *Server) checkOld(ctx context.Context, c identity.Caller, tenant string, version int64, force bool) error {
	var doc *policy.Document
	if version > 0 {
		var err error
		if doc, err = s.document(ctx, tenant, version); err != nil {
			return err
		}
	}
	draft, err := s.draft(tenant, doc)
	if err != nil {
		return err
	}
	if !force {
		if err := policy.RunCases(ctx, draft, tenant, s.Space.Platform, doc, s.Clock.Now()); err != nil {
			return refusedDocument(err)
		}
	}
	return s.mayActivate(ctx, c, tenant, draft, force)
}

// mayActivate refuses callers who may not put policies into force, and, unless
// forced, policies under which the caller could not do so any longer.
func (s *Server) mayActivate(ctx context.Context, c identity.Caller, tenant string, draft *authz.Snapshot, force bool) error {
	res := authz.Resource{Type: "policy", Tenant: tenant}
	if !s.Authorizer.Allowed(ctx, c, "activate", res) {
		return authz.Refusal("activate", res)
	}
	if force {
		return nil
	}
	for _, action := range []string{"create", "activate"} {
		q := authz.Question{Caller: c, Action: action, Resource: res, Facts: s.Authorizer.FactsOf(ctx)}
		if d := draft.Decide(q); !d.Allowed {
			return apierr.New(apierr.FailedPrecondition,
				"with this policy you could no longer %s policies (%s); with force it is put into force all the same", action, by(d))
		}
	}
	return nil
}

func by(d authz.Decision) string {
	if d.Rule == "" {
		return "no rule allows it"
	}
	return "by the rule " + d.Rule
}

// draft compiles a document, and puts it together with what is in force.
func (s *Server) draft(tenant string, doc *policy.Document) (*authz.Snapshot, error) {
	if doc != nil {
		if err := s.Space.Check(tenant, doc); err != nil {
			return nil, refusedDocument(err)
		}
	}
	snapshot, err := s.Follower.Draft(tenant, tenant+"@draft", doc)
	if err != nil {
		return nil, refusedDocument(err)
	}
	return snapshot, nil
}

// refusedDocument tells everything that is wrong with a document.
func refusedDocument(err error) error {
	return apierr.Invalid("document", "the policy is not accepted: %s", problems(err))
}

// given reads the document of a request; nil when there is none.
func given(doc *policy.Document, source string) (*policy.Document, error) {
	if source == "" {
		return doc, nil
	}
	if doc != nil {
		return nil, apierr.Invalid("source", "source must not be given besides document")
	}
	doc, err := policy.Parse(source)
	if err != nil {
		return nil, apierr.Invalid("source", "%s", problems(err))
	}
	return doc, nil
}

func author(c identity.Caller) string { return c.Tenant + "/" + c.Subject }
