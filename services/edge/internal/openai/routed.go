package openai

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/obligation"
	"github.com/poterne/poterne/services/edge/internal/route"
)

const (
	// HeaderRoute is the route that the request took.
	HeaderRoute = "x-poterne-route"
	// HeaderFallback is there when another model answers than the route has first: the
	// one that did not, and why: `small;reason=unavailable`.
	HeaderFallback = "x-poterne-fallback"
	// HeaderAttempts is how often models, or the search service, were asked, where that is
	// more than once. A hedge counts.
	HeaderAttempts = "x-poterne-attempts"
)

// Allowance says whether a request may be answered by another model than it names, as
// if it named that; what must then be fulfilled, and what may be reached.
type Allowance interface {
	Allow(ctx context.Context, method, model string, req any) (obligation.Set, obligation.Limits, error)
}

// routed is what the route of a request has for it; nil: no route is about it.
type routed struct {
	route          *route.Route
	method, tenant string
	// forced says that the policy has a model answer, and no other may.
	forced bool
	// session keeps requests on one worker.
	session string
	// name is the model that answers, where it is not the first.
	name string
	// more counts how often vectors or scores were asked for beyond the first time.
	more atomic.Int32
}

// tellAttempts sets the header of how often the model was asked for vectors or scores;
// a nil receiver has no route.
func (r *routed) tellAttempts(setHeader func(metadata.MD) error) error {
	if r == nil || r.more.Load() == 0 {
		return nil
	}
	if err := setHeader(metadata.Pairs(HeaderAttempts, strconv.Itoa(1+int(r.more.Load())))); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return nil
}

// model is the model that answers; first is the one that was asked first.
func (r *routed) model(first string) string {
	if r == nil || r.name == "" {
		return first
	}
	return r.name
}

type routedKey struct{}

// routedFrom returns what the route of the request has for it.
func routedFrom(ctx context.Context) *routed {
	r, _ := ctx.Value(routedKey{}).(*routed)
	return r
}

// methodOf is the method by which the policy judges an operation.
func methodOf(o route.Operation) string {
	switch o {
	case route.Completion:
		return edgev1.OpenAIService_CreateCompletion_FullMethodName
	case route.Embed:
		return edgev1.OpenAIService_CreateEmbedding_FullMethodName
	case route.Rerank:
		return edgev1.OpenAIService_Rerank_FullMethodName
	case route.Chat, route.Search:
		return edgev1.OpenAIService_CreateChatCompletion_FullMethodName
	}
	return ""
}

// route finds the route of a request, and puts the route's model in the place of the
// request's. What it returns carries it.
func (s *Server) route(ctx context.Context, o route.Operation, model *string, req any, setHeader func(metadata.MD) error) (context.Context, *routed, error) {
	if s.Router.Idle() {
		return ctx, nil, nil
	}
	f := RouteFacts(ctx, o, *model)
	t := s.Router.Find(&f)
	if t == nil {
		return ctx, nil, nil
	}
	rt := &routed{route: t, method: methodOf(o), tenant: f.Tenant, forced: obligation.From(ctx).Model != ""}
	s.Router.Observer.Routed(ctx, t.Name)
	s.Router.Budget().Deposit(f.Tenant)
	d := explain.Decision{Step: explain.Route, Outcome: "matched", Attributes: []explain.Attribute{{Name: "route", Value: t.Name}, {Name: "model", Value: *model}}}
	if t.Model != "" && t.Model != *model && !rt.forced {
		if err := s.rewrite(ctx, rt, req); err != nil {
			d.Outcome, d.Detail = "refused", "the caller may not have the route's model"
			audit.From(ctx).Decide(d)
			return ctx, nil, err
		}
		*model, d.Outcome = t.Model, "rewritten"
		d.Attributes = append(d.Attributes, explain.Attribute{Name: "to", Value: t.Model})
	}
	audit.From(ctx).Decide(d)
	if err := setHeader(metadata.Pairs(HeaderRoute, t.Name)); err != nil {
		return ctx, nil, apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	var err error
	if rt.session, err = sticky(ctx, t, f.Subject, setHeader); err != nil {
		return ctx, nil, err
	}
	return context.WithValue(ctx, routedKey{}, rt), rt, nil
}

// RouteFacts is what routes may ask about the request of ctx.
func RouteFacts(ctx context.Context, o route.Operation, model string) route.Facts {
	caller, _ := identity.FromContext(ctx)
	f := route.Facts{Operation: o, Model: model, Tenant: caller.Tenant, Subject: caller.Subject, KeyID: caller.KeyID}
	f.Method, _ = grpc.Method(ctx)
	if r := arrival.From(ctx).Request; r != nil {
		f.Path, f.Header = r.URL.Path, func(name string) []string { return r.Header.Values(name) }
		return f
	}
	f.Header = func(name string) []string { return metadata.ValueFromIncomingContext(ctx, name) }
	return f
}

// rewrite has the route's model judged as if the request named it.
func (s *Server) rewrite(ctx context.Context, rt *routed, req any) error {
	set, limits, err := s.Allowance.Allow(ctx, rt.method, rt.route.Model, req)
	if err != nil {
		return err
	}
	all, ok := obligation.From(ctx).And(set)
	if !ok {
		return apierr.New(apierr.PermissionDenied, "the policy's rules for this request force different models, which no answer fulfils")
	}
	limits.Classes = obligation.LimitsFrom(ctx).Classes.And(limits.Classes)
	if !obligation.Note(ctx, all) || !obligation.NoteLimits(ctx, limits) {
		return apierr.New(apierr.Internal, "what the policy asks of the request cannot be noted")
	}
	if all.Review {
		audit.From(ctx).SetReview()
	}
	rt.forced = all.Model != ""
	return nil
}

// maxCookie bounds what a client may show for a cookie of ours.
const maxCookie = 128

// cookieAge is for how long a client keeps it, in seconds.
const cookieAge = 24 * 60 * 60

// sticky is the key by which the request is kept on one worker; empty: by none.
func sticky(ctx context.Context, t *route.Route, subject string, setHeader func(metadata.MD) error) (string, error) {
	key := ""
	switch t.Sticky.By {
	case route.ByPrincipal:
		key = subject
	case route.ByHeader:
		f := RouteFacts(ctx, "", "")
		if values := f.Header(t.Sticky.Name); len(values) > 0 {
			key = values[0]
		}
	case route.ByCookie:
		r := arrival.From(ctx).Request
		if r == nil {
			return "", nil // over gRPC there is none
		}
		if c, err := r.Cookie(t.Sticky.Name); err == nil && c.Value != "" && len(c.Value) <= maxCookie {
			key = c.Value
			break
		}
		key = rand.Text()
		c := http.Cookie{Name: t.Sticky.Name, Value: key, Path: "/", MaxAge: cookieAge, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteLaxMode} //nolint:gosec // on a connection in the clear a secure cookie would never come back; it is no credential
		if err := setHeader(metadata.Pairs("set-cookie", c.String())); err != nil {
			return "", apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
		}
	}
	if key == "" {
		return "", nil
	}
	sum := sha256.Sum256([]byte(t.Name + "\x00" + key))
	return "route-" + hex.EncodeToString(sum[:16]), nil
}
