package middleware

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/explain"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/possession"
)

// addressLimit slows an address down before anything is looked up for it, so
// that guessing credentials is slow.
func (s *steps) addressLimit() grpcserver.Interceptor {
	return contextStep(NameAddressLimit, func(ctx context.Context, _ string, _ headers) (context.Context, error) {
		if known(ctx) != nil {
			return ctx, nil
		}
		return ctx, s.checkAddress(ctx)
	})
}

// checkAddress counts a request against the address that it comes from.
func (s *steps) checkAddress(ctx context.Context) error {
	if _, ok := authn.ErrandFrom(ctx); ok {
		return nil // nobody asks from there now
	}
	address := s.Addresses.FromContext(ctx)
	if left := s.Bans.Left(address); left > 0 {
		s.Metrics.Limited(ctx, "ban")
		s.thin(ctx, clientaddr.Network(address))
		explainRefusal(ctx, explain.Limits, "the address is banned for a time")
		return apierr.New(apierr.PermissionDenied, "this address is banned for a time").WithRetryAfter(left)
	}
	if s.Config.Address.RequestsPerMinute == 0 {
		return nil
	}
	network := clientaddr.Network(address)
	d, err := s.AddressLimiter.Allow(ctx, network, 1, s.Config.Address.limit())
	if err != nil {
		return apierr.Wrap(apierr.Internal, err, "the address limit cannot be judged")
	}
	if !d.Allowed {
		s.Metrics.Limited(ctx, "address")
		s.thin(ctx, network)
		explainRefusal(ctx, explain.Limits, "too many requests from the address")
		return apierr.New(apierr.RateLimited, "too many requests from this address").WithRetryAfter(d.RetryAfter)
	}
	return nil
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
	return contextStep(NameAuthenticate, func(ctx context.Context, method string, header headers) (context.Context, error) {
		if a := known(ctx); a != nil {
			if who := authn.Of(a.ctx); who != nil {
				ctx = withPrincipal(ctx, who)
			}
			return ctx, nil
		}
		return s.recognise(ctx, method, header)
	})
}

// recognise returns ctx carrying who asks.
func (s *steps) recognise(ctx context.Context, method string, header headers) (context.Context, error) {
	if s.Methods[method].Access == authz.Public {
		return ctx, nil
	}
	start := s.Clock.Now()
	p, err := s.identify(ctx, header)
	if err != nil {
		return nil, s.refuse(ctx, err, header)
	}
	entry := audit.From(ctx)
	entry.SetCaller(p.Caller.Tenant, p.Caller.Subject)
	entry.SetKeyID(p.CredentialID())
	explainIdentity(entry, p, start, s.Clock.Now().Sub(start))
	return withPrincipal(ctx, p), nil
}

func (s *steps) identify(ctx context.Context, header headers) (*authn.Principal, error) {
	if e, ok := authn.ErrandFrom(ctx); ok {
		return s.errand(ctx, e)
	}
	token, scheme, err := authn.Token(ctx)
	if err != nil {
		var r *authn.RefusedError
		// A header, whatever is in it, is what the client means to show.
		if arrived := arrival.From(ctx).Request; s.Sessions != nil && arrived != nil && errors.As(err, &r) && r.Cause == authn.Missing && s.Sessions.Present(arrived) {
			p, err := s.Sessions.Authenticate(ctx, arrived)
			return &p, err
		}
		return nil, err
	}
	// The proof comes first: that it is wrong must not tell whether the token is good.
	proof, err := s.prove(ctx, token, scheme, header)
	if err != nil {
		return nil, err
	}
	p, err := s.Authenticator.Authenticate(ctx, token)
	if err != nil {
		return nil, err
	}
	if err := s.withinNetwork(ctx, p); err != nil {
		return nil, err
	}
	return s.confirm(ctx, scheme, proof, p)
}

func (s *steps) refuse(ctx context.Context, err error, header headers) error {
	var r *authn.RefusedError
	if !errors.As(err, &r) {
		s.Metrics.AuthFailure(ctx, string(authn.Unavailable))
		return err
	}
	s.note(ctx, r)
	if r.Cause == authn.CrossSite {
		return authn.Error(r) // no guess: the credentials were not looked at
	}
	if err := s.charge(ctx, r); err != nil {
		return err
	}
	_, scheme, _ := authn.Token(ctx)
	md := metadata.MD{authn.Challenge: s.Challenges.For(r, scheme)}
	if r.Nonce != "" {
		md.Set(possession.NonceHeader, r.Nonce)
	}
	if err := header.set(md); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the response header cannot be set")
	}
	return authn.Error(r)
}

// note tells of refused credentials.
func (s *steps) note(ctx context.Context, r *authn.RefusedError) {
	s.Metrics.AuthFailure(ctx, string(r.Cause))
	audit.From(ctx).SetKeyID(r.KeyID)
	audit.From(ctx).AddFinding("credentials/" + string(r.Cause) + " block")
	explainRefusal(ctx, explain.Identity, string(r.Cause))
	// The trail and the metric tell of it too: anybody can cause these lines.
	s.Log.DebugContext(ctx, "credentials refused", slog.String(metrics.KeyCause, string(r.Cause)),
		slog.String(metrics.KeyKeyID, r.KeyID), slog.String(metrics.KeyAddress, s.Addresses.FromContext(ctx).String()))
}

// charge has a wrong guess cost more than a request, on credit where less is left:
// the next one waits until it is paid. A proof without a nonce guesses nothing.
func (s *steps) charge(ctx context.Context, r *authn.RefusedError) error {
	if r.Cause == authn.Nonce {
		return nil
	}
	s.Bans.Offend(ctx, s.Addresses.FromContext(ctx), ban.Credentials)
	if s.Config.Address.RequestsPerMinute == 0 {
		return nil
	}
	if err := s.AddressLimiter.Charge(ctx, s.network(ctx), s.Config.Address.FailureCost, s.Config.Address.limit()); err != nil {
		return apierr.Wrap(apierr.Internal, err, "the address limit cannot be judged")
	}
	return nil
}

// authorise asks the policy.
func (s *steps) authorise() grpcserver.Interceptor {
	return narrowing(messageStep(NameAuthorise, s.once, func(ctx context.Context, method string, req any, _ headers) error {
		m := s.Methods[method] // a missing method is one that nobody may call
		caller, ok := identity.FromContext(ctx)
		if !ok && m.Access == authz.Checked {
			return apierr.New(apierr.Internal, "the request was not authenticated")
		}
		start := s.Clock.Now()
		v, err := s.Authorizer.Judge(ctx, m, caller, req)
		if m.Access == authz.Checked {
			if entry := audit.From(ctx); err != nil || entry.Policy() == "" { // of a stream, its first message
				explainPolicy(entry, &v, err, start, s.Clock.Now().Sub(start))
			}
			s.noteVerdict(ctx, v)
			if err := s.withinGrant(ctx, m, v, req); err != nil {
				return err
			}
		}
		if err != nil {
			s.Metrics.Denied(ctx, m.Type)
			return err
		}
		return s.oblige(ctx, v, req)
	}))
}

// noteVerdict records by which policy and rule a request was judged.
func (s *steps) noteVerdict(ctx context.Context, v authz.Verdict) {
	entry := audit.From(ctx)
	entry.SetResource(v.Resource.String())
	entry.SetPolicy(v.Policy, v.Rule)
	if v.Obligations.Review {
		entry.SetReview()
	}
}
