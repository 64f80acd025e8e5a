// Package middleware is the edge's named steps between the transport and the
// handlers: who asks, may they, how often, how long, and the record of it. REST
// and gRPC pass the same ones. Each step is thin; what it decides with is in
// packages of its own. Start reading at Chain.
package middleware

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/inhand"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/possession"
)

// The names of the steps.
const (
	NameAudit        = "audit"
	NameAddressLimit = "address-limit"
	NameAuthenticate = "authenticate"
	NameAuthorise    = "authorise"
	NameLimit        = "limit"
	NameIntent       = "intent"
	NameDeadline     = "deadline"
)

// Deps is what the steps decide with. All fields but Metrics, Sessions and Bans are
// needed.
type Deps struct {
	Config    Config
	Clock     clock.Clock
	IDs       ids.Source
	Log       *slog.Logger
	Metrics   *metrics.Metrics
	Addresses *clientaddr.Resolver
	// Bans says whose requests are refused; nil: nobody's.
	Bans  *ban.Manager
	Trail *audit.Trail
	// Explain has each record say what every step decided.
	Explain bool
	// InHand is told of every request that will have a record; nil: nobody asks.
	InHand *audit.InHand
	// Contents says that contents of calls may be kept.
	Contents bool
	// Calls is told of every call, until its record is in the trail.
	Calls         *inhand.Calls
	Authenticator authn.Authenticator
	// Sessions accepts cookies; nil: none.
	Sessions   *authn.Sessions
	Authorizer *authz.Authorizer
	// Possession judges proofs of tokens that are bound to a key; nil: none is
	// accepted.
	Possession *possession.Checker
	// Challenges is what refused callers are told.
	Challenges authn.Challenges
	// AddressLimiter counts by client address, in this replica.
	AddressLimiter limit.Charger
	// Limits lets requests in by each key's own limit and by rules, across replicas
	// where they share a store.
	Limits *limitrule.Engine
	// Methods and Classes are the tables; nil for authz.Table and limit.Table.
	Methods map[string]authz.Method
	Classes map[string]limit.Class
}

// Chain returns the steps from audit to deadline, with validate, which looks at
// the request's form, at its place between them.
func Chain(d Deps, validate grpcserver.Interceptor) grpcserver.Chain {
	s := newSteps(d)
	return append(s.door(), s.authorise(), validate, s.limit(), s.intent(), s.deadline())
}

func newSteps(d Deps) *steps {
	if d.Methods == nil {
		d.Methods = authz.Table()
	}
	if d.Classes == nil {
		d.Classes = limit.Table()
	}
	s := &steps{Deps: d}
	s.now = s.time
	return s
}

type steps struct {
	Deps
	now func() time.Time // time, made a function once
}

func (s *steps) time() time.Time { return s.Clock.Now() }

// messageStep makes a step that must see the request: at once for a unary call,
// and with each message for a stream, since a server's handler receives the
// first one before it does anything, and each further one asks for more. Steps
// further out see the message first.
//
// once names the streams of which only the first message is checked; nil: none.
func messageStep(name string, once func(method string) bool, check func(ctx context.Context, method string, req any, header headers) error) grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: name,
		Enter: func(ctx context.Context, req any, info *grpc.UnaryServerInfo) (context.Context, error) {
			return ctx, check(ctx, info.FullMethod, req, unaryHeader(ctx))
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			first := once != nil && once(info.FullMethod)
			return handler(srv, &checkedStream{ServerStream: ss, once: first, check: func(msg any, header headers) error {
				return check(ss.Context(), info.FullMethod, msg, header)
			}})
		},
	}
}

// checkedStream checks each message that is received.
type checkedStream struct {
	grpc.ServerStream
	check func(msg any, header headers) error
	begun bool
	once  bool // only the first
}

// RecvMsg is called by one goroutine at a time (grpc.ServerStream).
func (s *checkedStream) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.begun && s.once {
		return nil
	}
	var header headers
	if !s.begun { // it may have been sent with an answer to the first
		header.stream = s.ServerStream
	}
	s.begun = true
	return s.check(m, header)
}

// once reports whether a stream of the method is one request.
func (s *steps) once(method string) bool { return s.Methods[method].Once }

// contextStep makes a step that adds to the context, before any message.
func contextStep(name string, enter func(ctx context.Context, method string, header headers) (context.Context, error)) grpcserver.Interceptor {
	return grpcserver.Interceptor{
		Name: name,
		Enter: func(ctx context.Context, _ any, info *grpc.UnaryServerInfo) (context.Context, error) {
			return enter(ctx, info.FullMethod, unaryHeader(ctx))
		},
		Stream: func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			ctx, err := enter(ss.Context(), info.FullMethod, headers{stream: ss})
			if err != nil {
				return err
			}
			return handler(srv, grpcserver.WithContext(ss, ctx))
		},
	}
}
