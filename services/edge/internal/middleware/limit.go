package middleware

import (
	"context"
	"strings"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/enduser"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// limit lets a request in by the caller's own limit and by the rules that are about
// it, and tells the caller what is left. Slots of what is in hand are left on every
// way out, a handler's panic among them.
func (s *steps) limit() grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: NameLimit,
		Unary: func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			pass, err := s.enter(ctx, info.FullMethod, req, false, unaryHeader(ctx))
			if err != nil {
				return nil, err
			}
			if pass != nil {
				defer pass.Leave(ctx)
				var place *limitrule.Place
				ctx, place = limitrule.NewContext(ctx)
				place.Put(pass)
			}
			return handler(ctx, req)
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx := ss.Context()
			var place *limitrule.Place
			if !s.Limits.Idle() {
				ctx, place = limitrule.NewContext(ctx)
				ss = grpcserver.WithContext(ss, ctx)
			}
			var held *limitrule.Pass
			defer func() { held.Leave(ctx) }()
			begun := false
			return handler(srv, &checkedStream{ServerStream: ss, once: s.once(info.FullMethod), check: func(msg any, header headers) error {
				pass, err := s.enter(ctx, info.FullMethod, msg, begun, header)
				if !begun && place != nil {
					held = pass
					place.Put(pass)
				}
				begun = true
				return err
			}})
		},
	}
}

// enter admits a request, or a message of a stream; later says that it is not the
// stream's first.
func (s *steps) enter(ctx context.Context, method string, req any, later bool, header headers) (*limitrule.Pass, error) {
	class, ok := s.Classes[method]
	if !ok {
		return nil, apierr.New(apierr.PermissionDenied, "the gateway does not offer this method")
	}
	if _, ok := identity.FromContext(ctx); !ok || class.Cost() == 0 {
		return nil, nil //nolint:nilnil // nothing is held
	}
	return s.admit(ctx, method, class, req, later, header)
}

func (s *steps) admit(ctx context.Context, method string, class limit.Class, req any, later bool, header headers) (*limitrule.Pass, error) {
	p, _ := authn.FromContext(ctx)
	f := limitrule.Facts{
		Tenant: p.Caller.Tenant, KeyID: p.Caller.KeyID, Subject: p.Caller.Subject, Method: method, Class: class,
		PerMinute: p.RequestsPerMinute, Later: later,
	}
	if f.PerMinute <= 0 {
		f.PerMinute = s.Config.RequestsPerMinute
	}
	if !s.Limits.Idle() {
		f.Address = clientaddr.Network(s.Addresses.FromContext(ctx))
		f.User, f.Model = userAndModel(ctx, class, req)
	}
	start, t := s.Clock.Now(), &told{header: header}
	pass, err := s.Limits.Admit(ctx, &f, class.Cost(), t.set)
	if !later || err != nil {
		explainLimits(audit.From(ctx), t, err, start, s.Clock.Now().Sub(start))
	}
	return pass, err
}

// userAndModel returns a request's own user, and the bare name of the model that is to
// work on it; empty where it has none.
func userAndModel(ctx context.Context, class limit.Class, req any) (user, model string) {
	if class != limit.Generate && class != limit.Embed && class != limit.Infer {
		return "", ""
	}
	user = enduser.Of(req)
	switch r := req.(type) {
	case interface{ GetModel() string }:
		model = r.GetModel()
	case interface{ GetModelName() string }:
		model = r.GetModelName()
	}
	if forced := obligation.From(ctx).Model; forced != "" {
		model = forced
	}
	model, _, _ = strings.Cut(model, "@")
	return user, model
}
