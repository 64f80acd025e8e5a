// Package policyserver is the edge's PolicyService. Every method's permission was
// checked before it is called. Start reading at Server.
package policyserver

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/policy"
)

const defaultPageSize = 100

// Deps is what a Server works with; all of it is needed.
type Deps struct {
	Store      *policy.Store
	Follower   *policy.Follower
	Reporter   *policy.Reporter
	Space      policy.Space
	Authorizer *authz.Authorizer
	// Models says how old what is known of models is.
	Models interface{ Age() (time.Duration, bool) }
	Clock  clock.Clock
	Log    *slog.Logger
}

// Server is the PolicyService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedPolicyServiceServer
	Deps

	turns *turns
}

// New returns a server.
func New(d Deps) *Server { return &Server{Deps: d, turns: newTurns()} }

// whose returns the caller, and the tenant whose policy a request is about.
func whose(ctx context.Context, tenant string) (identity.Caller, string, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return c, "", apierr.New(apierr.Internal, "the request was not authenticated")
	}
	if tenant == "" {
		tenant = c.Tenant
	}
	return c, tenant, nil
}

// GetPolicy returns what a tenant has in force.
func (s *Server) GetPolicy(ctx context.Context, req *edgev1.GetPolicyRequest) (*edgev1.GetPolicyResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	st, err := s.Store.State(ctx, tenant)
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.GetPolicyResponse{
		Tenant: tenant, Etag: etag(st.ETag), DryRunVersion: st.DryRun,
		Policy: s.Authorizer.Current().Version(tenant), Problem: s.Follower.Problem(tenant),
	}
	if st.Version > 0 {
		v, err := s.Store.Get(ctx, tenant, st.Version)
		if err != nil {
			return nil, storeError(err)
		}
		if out.Active, err = whole(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ListPolicyVersions lists versions, newest first.
func (s *Server) ListPolicyVersions(ctx context.Context, req *edgev1.ListPolicyVersionsRequest) (*edgev1.ListPolicyVersionsResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = defaultPageSize
	}
	var before int64
	if token := req.GetPageToken(); token != "" {
		if before, err = strconv.ParseInt(token, 10, 64); err != nil || before < 1 {
			return nil, apierr.Invalid("page_token", "page_token is not one that this method gave")
		}
	}
	versions, err := s.Store.List(ctx, tenant, before, size+1)
	if err != nil {
		return nil, storeError(err)
	}
	out := &edgev1.ListPolicyVersionsResponse{}
	if len(versions) > size {
		versions = versions[:size]
		out.NextPageToken = strconv.FormatInt(versions[size-1].Version, 10)
	}
	for _, v := range versions {
		out.Versions = append(out.Versions, message(v))
	}
	return out, nil
}

// GetPolicyVersion returns a version with its document.
func (s *Server) GetPolicyVersion(ctx context.Context, req *edgev1.GetPolicyVersionRequest) (*edgev1.GetPolicyVersionResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	v, err := s.Store.Get(ctx, tenant, req.GetVersion())
	if err != nil {
		return nil, storeError(err)
	}
	m, err := whole(v)
	if err != nil {
		return nil, err
	}
	return &edgev1.GetPolicyVersionResponse{Version: m}, nil
}

// DiffPolicy says in what two versions differ.
func (s *Server) DiffPolicy(ctx context.Context, req *edgev1.DiffPolicyRequest) (*edgev1.DiffPolicyResponse, error) {
	_, tenant, err := whose(ctx, req.GetTenant())
	if err != nil {
		return nil, err
	}
	to := req.GetTo()
	if to == 0 {
		st, err := s.Store.State(ctx, tenant)
		if err != nil {
			return nil, storeError(err)
		}
		to = st.Version
	}
	before, err := s.document(ctx, tenant, req.GetFrom())
	if err != nil {
		return nil, err
	}
	after, err := s.document(ctx, tenant, to)
	if err != nil {
		return nil, err
	}
	return &edgev1.DiffPolicyResponse{Differences: policy.Diff(before, after)}, nil
}

// document returns a version's; an empty one for version 0.
func (s *Server) document(ctx context.Context, tenant string, version int64) (*policy.Document, error) {
	if version == 0 {
		return new(policy.Document), nil
	}
	v, err := s.Store.Get(ctx, tenant, version)
	if err != nil {
		return nil, storeError(err)
	}
	doc, err := v.Document()
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the version cannot be read")
	}
	return doc, nil
}

// storeRetry is when to try again after the store did not answer.
const storeRetry = time.Second

func storeError(err error) error {
	switch {
	case errors.Is(err, policy.ErrNotFound):
		return apierr.New(apierr.NotFound, "the policy has no such version")
	case errors.Is(err, policy.ErrChanged):
		return apierr.New(apierr.Conflict, "another version was put into force meanwhile: look at it, and use its etag").WithField("etag")
	case errors.Is(err, policy.ErrFull):
		return apierr.New(apierr.FailedPrecondition, "the policy has as many versions as are kept")
	default:
		return apierr.Wrap(apierr.Unavailable, err, "the store of policies does not answer").WithRetryAfter(storeRetry)
	}
}

func etag(n int64) string { return strconv.FormatInt(n, 10) }

// readETag returns the etag that what is in force must have.
func readETag(text string) (int64, error) {
	if text == "" {
		return policy.AnyETag, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, apierr.Invalid("etag", "etag is not one of a policy")
	}
	return n, nil
}

func message(v policy.Version) *edgev1.PolicyVersion {
	return &edgev1.PolicyVersion{
		Tenant: v.Tenant, Version: v.Version, Digest: v.Digest, Author: v.Author, Message: v.Message, CreateTime: timestamppb.New(v.CreateTime),
	}
}

func whole(v policy.Version) (*edgev1.PolicyVersion, error) {
	m := message(v)
	var err error
	if m.Document, err = v.Document(); err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the version cannot be read")
	}
	return m, nil
}

// changed follows what this replica has just changed; the others do so with their
// next poll.
func (s *Server) changed(ctx context.Context, tenant string) {
	if err := s.Follower.Follow(context.WithoutCancel(ctx)); err != nil {
		s.Log.WarnContext(ctx, "a policy that was put into force is loaded with the next poll", slog.String(metrics.KeyTenant, tenant), slog.Any("error", err))
	}
}
