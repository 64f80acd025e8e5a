package middleware

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// addressLimit slows an address down before anything is looked up for it, so
// that guessing credentials is slow.
func (s *steps) addressLimit() grpcserver.Interceptor {
	return contextStep(NameAddressLimit, func(ctx context.Context, _ string, _ headerSetter) (context.Context, context.CancelFunc, error) {
		network := s.network(ctx)
		if left := s.Bans.Left(s.Addresses.FromContext(ctx)); left > 0 {
			s.Metrics.Limited(ctx, "ban")
			s.thin(ctx, network)
			return nil, nil, apierr.New(apierr.PermissionDenied, "this address is banned for a time").WithRetryAfter(left)
		}
		if s.Config.Address.RequestsPerMinute == 0 {
			return ctx, noLeave, nil
		}
		d, err := s.AddressLimiter.Allow(ctx, network, 1, s.Config.Address.limit())
		if err != nil {
			return nil, nil, apierr.Wrap(apierr.Internal, err, "the address limit cannot be judged")
		}
		if !d.Allowed {
			s.Metrics.Limited(ctx, "address")
			s.thin(ctx, network)
			return nil, nil, apierr.New(apierr.RateLimited, "too many requests from this address").WithRetryAfter(d.RetryAfter)
		}
		return ctx, noLeave, nil
	})
}

// network is what requests are counted by before their caller is known.
func (s *steps) network(ctx context.Context) string {
	return clientaddr.Network(s.Addresses.FromContext(ctx))
}

// recordedRefusals is how many requests over its limit an address has in the
// audit trail in a minute. Nothing else slows these down, so that recording all
// would let anybody fill the trail; the metric counts them all.
const recordedRefusals = 60

// thin keeps the request out of the trail when it has enough of its kind.
func (s *steps) thin(ctx context.Context, network string) {
	d, err := s.AddressLimiter.Allow(ctx, "over:"+network, 1, limit.PerMinute(recordedRefusals))
	if err == nil && !d.Allowed {
		audit.From(ctx).Omit()
	}
}

// authenticate finds out who asks. Methods that need no caller pass without.
func (s *steps) authenticate() grpcserver.Interceptor {
	return contextStep(NameAuthenticate, func(ctx context.Context, method string, setHeader headerSetter) (context.Context, context.CancelFunc, error) {
		if s.Methods[method].Access == authz.Public {
			return ctx, noLeave, nil
		}
		p, err := s.identify(ctx)
		if err != nil {
			return nil, nil, s.refuse(ctx, err, setHeader)
		}
		entry := audit.From(ctx)
		entry.SetCaller(p.Caller.Tenant, p.Caller.Subject)
		entry.SetKeyID(p.Caller.KeyID)
		return withPrincipal(ctx, p), noLeave, nil
	})
}

// withPrincipal returns ctx carrying who asks, with a place for what the policy
// asks of the request.
func withPrincipal(ctx context.Context, p authn.Principal) context.Context {
	return obligation.NewContext(authn.NewContext(identity.NewContext(ctx, p.Caller), p))
}

func (s *steps) identify(ctx context.Context) (authn.Principal, error) {
	token, err := authn.Token(ctx)
	if err != nil {
		return authn.Principal{}, err
	}
	return s.Authenticator.Authenticate(ctx, token)
}

func (s *steps) refuse(ctx context.Context, err error, setHeader headerSetter) error {
	var r *authn.RefusedError
	if !errors.As(err, &r) {
		s.Metrics.AuthFailure(ctx, string(authn.Unavailable))
		return err
	}
	s.Metrics.AuthFailure(ctx, string(r.Cause))
	s.Bans.Offend(ctx, s.Addresses.FromContext(ctx), ban.Credentials)
	audit.From(ctx).SetKeyID(r.KeyID)
	// The trail and the metric tell of it too: anybody can cause these lines.
	s.Log.DebugContext(ctx, "credentials refused", slog.String(metrics.KeyCause, string(r.Cause)),
		slog.String(metrics.KeyKeyID, r.KeyID), slog.String(metrics.KeyAddress, s.Addresses.FromContext(ctx).String()))
	// A wrong guess costs more than a request, on credit where less is left: the
	// next one waits until it is paid.
	if s.Config.Address.RequestsPerMinute > 0 {
		if err := s.AddressLimiter.Charge(ctx, s.network(ctx), s.Config.Address.FailureCost, s.Config.Address.limit()); err != nil {
			return apierr.Wrap(apierr.Internal, err, "the address limit cannot be judged")
		}
	}
	if err := setHeader(metadata.Pairs(authn.Challenge, authn.ChallengeFor(r))); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return authn.Error(r)
}

// authorise asks the policy.
func (s *steps) authorise() grpcserver.Interceptor {
	return messageStep(NameAuthorise, s.once, func(ctx context.Context, method string, req any, _ headerSetter) error {
		m := s.Methods[method] // a missing method is one that nobody may call
		caller, ok := identity.FromContext(ctx)
		if !ok && m.Access == authz.Checked {
			return apierr.New(apierr.Internal, "the request was not authenticated")
		}
		if m.Access == authz.Checked {
			res := s.Authorizer.Resource(m, caller.Tenant, req)
			audit.From(ctx).SetResource(res.String())
		}
		err := s.Authorizer.Check(ctx, m, caller, req)
		if err != nil {
			s.Metrics.Denied(ctx, m.Type)
		}
		return err
	})
}

// limit takes the request's cost from the bucket of the caller's key and tells
// the caller what is left.
func (s *steps) limit() grpcserver.Interceptor {
	return messageStep(NameLimit, s.once, func(ctx context.Context, method string, _ any, setHeader headerSetter) error {
		class, ok := s.Classes[method]
		if !ok {
			return apierr.New(apierr.PermissionDenied, "the gateway does not offer this method")
		}
		caller, ok := identity.FromContext(ctx)
		if !ok || class.Cost() == 0 {
			return nil
		}
		d, err := s.Limiter.Allow(ctx, bucket(caller), class.Cost(), s.keyLimit(ctx))
		if err != nil {
			return apierr.Wrap(apierr.Internal, err, "the limit cannot be judged")
		}
		if err := setHeader(metadata.Pairs(limit.Headers(d)...)); err != nil {
			return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
		}
		if !d.Allowed {
			s.Metrics.Limited(ctx, "key")
			return apierr.New(apierr.RateLimited, "the limit of %d requests per minute is reached", d.Limit.Requests).
				WithRetryAfter(d.RetryAfter)
		}
		return nil
	})
}

// bucket names what a limit is counted by: the key, or for credentials without
// one, who shows them.
func bucket(c identity.Caller) string {
	if c.KeyID != "" {
		return "key:" + c.KeyID
	}
	return "subject:" + c.Tenant + "/" + c.Subject
}

func (s *steps) keyLimit(ctx context.Context) limit.Limit {
	if p, _ := authn.FromContext(ctx); p.RequestsPerMinute > 0 {
		return limit.PerMinute(p.RequestsPerMinute)
	}
	return limit.PerMinute(s.Config.RequestsPerMinute)
}
