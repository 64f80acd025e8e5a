// Package requests explains requests: it finds what the audit trail has of one, and
// those that are in hand, and tells it to who may know. What steps decided is noted by
// them (package explain). Start reading at Server.
package requests

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/requestid"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/responseid"
)

// Records finds records, with everything recorded by now.
type Records interface {
	List(ctx context.Context, q audit.Query) ([]audit.Record, error)
}

// Authorizer decides on what depends on whose something is.
type Authorizer interface {
	Allowed(ctx context.Context, c identity.Caller, action string, r authz.Resource) bool
}

// Deps is what a Server works with; all of it but Records is needed.
type Deps struct {
	// Records is the trail; nil: it cannot be read.
	Records Records
	InHand  *audit.InHand
	Authz   Authorizer
	Clock   clock.Clock
	// Patience is how long a record may be on its way from another edge.
	Patience time.Duration
}

// Server is the RequestService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedRequestServiceServer
	Deps
}

// New returns a server.
func New(d Deps) *Server { return &Server{Deps: d} }

const (
	// alike is how many records of one id are looked at.
	alike = 8
	// pause is between two looks for a record that is on its way.
	pause = 50 * time.Millisecond
)

// GetRequest explains a request.
func (s *Server) GetRequest(ctx context.Context, req *edgev1.GetRequestRequest) (*edgev1.GetRequestResponse, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return nil, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	if s.Records == nil {
		return nil, apierr.New(apierr.FailedPrecondition, "the audit trail is kept in files here, in which requests cannot be found")
	}
	r := s.reach(ctx, c)
	q, ok := r.query(req.GetId())
	if !ok {
		return nil, notFound()
	}
	rec, inHand, err := s.find(ctx, q, r)
	if err != nil {
		return nil, err
	}
	return &edgev1.GetRequestResponse{Request: message(&rec, inHand, s.Clock.Now(), r.platform)}, nil
}

func notFound() error {
	return apierr.New(apierr.NotFound, "there is no such request").WithField("id")
}

// reach is whose requests a caller may know of.
type reach struct {
	platform               bool   // everybody's
	tenant, subject, keyID string // empty: any
	none                   bool
}

// reach: who may list the trail may know of what is in it. Credentials that are
// narrowed show what was asked with them.
func (s *Server) reach(ctx context.Context, c identity.Caller) reach {
	p, _ := authn.FromContext(ctx)
	if p.Grant.Action("audit", "list") && len(p.Grant.Models)+len(p.Grant.Collections) == 0 {
		// No tenant has the name *, so only a rule for any tenant can match.
		if s.Authz.Allowed(ctx, c, "list", authz.Resource{Type: "audit", Tenant: "*"}) {
			return reach{platform: true}
		}
		if c.Tenant != "" && s.Authz.Allowed(ctx, c, "list", authz.Resource{Type: "audit", Tenant: c.Tenant}) {
			return reach{tenant: c.Tenant}
		}
	}
	r := reach{tenant: c.Tenant, subject: c.Subject, none: c.Tenant == "" || c.Subject == ""}
	if !p.Grant.Everything() {
		r.keyID = p.CredentialID()
		r.none = r.none || r.keyID == ""
	}
	return r
}

// query returns what to look for; false: there is no such id.
func (r reach) query(id string) (audit.Query, bool) {
	q := audit.Query{Tenant: r.tenant, Subject: r.subject, KeyID: r.keyID, Limit: alike}
	if record, ok := responseid.Record(id); ok {
		q.ID = record
	} else {
		q.RequestID = id
	}
	return q, !r.none && (q.ID != "" || requestid.Valid(id))
}

// covers reports whether a record in hand is one that q asks for.
func (r reach) covers(q audit.Query, rec *audit.Record) bool {
	return (r.tenant == "" || rec.Tenant == r.tenant) && (r.subject == "" || rec.Subject == r.subject) && (r.keyID == "" || rec.KeyID == r.keyID) &&
		(q.ID == "" || rec.ID == q.ID) && (q.RequestID == "" || rec.RequestID == q.RequestID)
}

// find looks for a request, and waits for its record where another edge may not have
// written it yet: as long for one that the caller may not know of as for none.
func (s *Server) find(ctx context.Context, q audit.Query, r reach) (_ audit.Record, inHand bool, _ error) {
	own := audit.From(ctx).ID()
	end := s.Clock.Now().Add(s.Patience)
	for {
		rec, ok := s.InHand.Find(func(rec *audit.Record) bool { return rec.ID != own && r.covers(q, rec) })
		if ok {
			return rec, true, nil
		}
		recs, err := s.Records.List(ctx, q)
		if err != nil {
			if _, ours := errors.AsType[*apierr.Error](err); ours {
				return rec, false, err
			}
			return rec, false, apierr.Wrap(apierr.Unavailable, err, "the audit trail does not answer").WithRetryAfter(time.Second)
		}
		if len(recs) > 0 {
			return best(recs), false, nil
		}
		if !s.Clock.Now().Add(pause).Before(end) {
			return rec, false, notFound()
		}
		if err := clock.Sleep(ctx, s.Clock, pause); err != nil {
			return rec, false, err
		}
	}
}

// best is the last request that was not itself a question about one: a caller who
// gives all requests the same id asks about another.
func best(recs []audit.Record) audit.Record {
	for _, r := range recs {
		if r.Method != edgev1.RequestService_GetRequest_FullMethodName {
			return r
		}
	}
	return recs[0]
}
