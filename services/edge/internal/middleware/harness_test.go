package middleware

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/inproc"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/authz"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/inhand"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
)

// tokens is an authenticator that knows a few tokens.
type tokens map[string]authn.Principal

func (tokens) Recognises(token string) bool { return token != "jwt" }

func (t tokens) Authenticate(_ context.Context, token string) (*authn.Principal, error) {
	p, ok := t[token]
	if !ok {
		return nil, &authn.RefusedError{Cause: authn.Revoked, KeyID: "k-" + token}
	}
	return &p, nil
}

func holder(tenant, role string, perMinute int) authn.Principal {
	return authn.Principal{RequestsPerMinute: perMinute, Caller: identity.Caller{
		Tenant: tenant, Subject: "ada", Roles: []string{role}, KeyID: "k-" + tenant + "-" + role,
		Principals: []string{"user:ada", "tenant:" + tenant, "role:" + role, identity.Public},
	}}
}

// kept is a sink in memory.
type kept struct {
	mu      sync.Mutex
	records []audit.Record
}

func (k *kept) Write(_ context.Context, batch []audit.Record) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = append(k.records, batch...)
	return nil
}

// handlers is what the steps guard.
type handlers struct {
	edgev1.UnimplementedOpenAIServiceServer
	edgev1.UnimplementedAdminServiceServer
	handle func(ctx context.Context, req any) error
}

func (h *handlers) ListModels(ctx context.Context, req *edgev1.ListModelsRequest) (*edgev1.ListModelsResponse, error) {
	return &edgev1.ListModelsResponse{}, h.handle(ctx, req)
}

func (h *handlers) CreateChatCompletion(ctx context.Context, req *edgev1.CreateChatCompletionRequest) (*edgev1.CreateChatCompletionResponse, error) {
	return &edgev1.CreateChatCompletionResponse{}, h.handle(ctx, req)
}

func (h *handlers) StreamChatCompletion(req *edgev1.CreateChatCompletionRequest, s grpc.ServerStreamingServer[edgev1.StreamChatCompletionResponse]) error {
	if err := h.handle(s.Context(), req); err != nil {
		return err
	}
	return s.Send(&edgev1.StreamChatCompletionResponse{Id: "chunk"})
}

func (h *handlers) ListWorkers(ctx context.Context, req *edgev1.ListWorkersRequest) (*edgev1.ListWorkersResponse, error) {
	return &edgev1.ListWorkersResponse{}, h.handle(ctx, req)
}

type gate struct {
	openai edgev1.OpenAIServiceClient
	admin  edgev1.AdminServiceClient
	chain  grpcserver.Chain
	clock  *clock.Fake
	trail  *audit.Trail
	sink   *kept
	served *int
}

// newGate puts the whole chain before handle, which may be nil.
func newGate(t *testing.T, cfg Config, handle func(ctx context.Context, req any) error) gate {
	t.Helper()
	g := gate{clock: clock.NewFake(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)), sink: new(kept), served: new(int)}
	log := slog.New(slog.DiscardHandler)
	g.trail = audit.NewTrail(audit.DefaultConfig(), g.sink, g.clock, log, nil)
	policy, err := authz.DefaultPolicy()
	if err != nil {
		t.Fatal(err)
	}
	authorizer, err := authz.New(authz.DefaultConfig(), policy, log)
	if err != nil {
		t.Fatal(err)
	}
	validator, err := protovalidate.New()
	if err != nil {
		t.Fatal(err)
	}
	proxies, err := cfg.Proxies()
	if err != nil {
		t.Fatal(err)
	}
	steps := Chain(Deps{
		Config: cfg, Clock: g.clock, IDs: ids.Sequence("rec"), Log: log, Addresses: clientaddr.New(proxies), Trail: g.trail,
		Calls: inhand.New(),
		Authenticator: authn.Chain{tokens{
			"root": holder("default", "admin", 0), "dev": holder("acme", "developer", 0),
			"slow": holder("acme", "reader", 2), "none": holder("acme", "nothing", 0),
		}},
		Authorizer:     authorizer,
		AddressLimiter: limit.NewMemory(g.clock, 1000), Limits: limitrule.New(limit.NewMemory(g.clock, 1000), limit.NewSlots(limit.SlotsOptions{Clock: g.clock}), nil),
	}, grpcserver.Validate(validator))
	g.chain = append(grpcserver.Chain{grpcserver.Recover(log), grpcserver.RequestID(ids.Sequence("req")), grpcserver.Errors()}, steps...)
	h := &handlers{handle: func(ctx context.Context, req any) error {
		*g.served++
		if handle == nil {
			return nil
		}
		return handle(ctx, req)
	}}
	conn := inproc.New(g.chain, func(r grpc.ServiceRegistrar) {
		edgev1.RegisterOpenAIServiceServer(r, h)
		edgev1.RegisterAdminServiceServer(r, h)
	})
	g.openai, g.admin = edgev1.NewOpenAIServiceClient(conn), edgev1.NewAdminServiceClient(conn)
	return g
}

// as returns a context that shows a token, from an address.
func as(ctx context.Context, token string) context.Context {
	ctx = clientaddr.NewContext(ctx, netip.MustParseAddr("192.0.2.7"))
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, authn.Header, "Bearer "+token)
}

// records returns what the trail holds by now.
func (g gate) records(t *testing.T) []audit.Record {
	t.Helper()
	if err := g.trail.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g.sink.records
}
