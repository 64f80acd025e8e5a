package registry_test

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

type stream = grpc.ServerStreamingClient[registryv1.WatchResponse]

func watch(tb testing.TB, r *rig, from int64) stream {
	tb.Helper()
	s, err := r.Watch(tb.Context(), &registryv1.WatchRequest{FromRevision: from})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// next returns the next message that is no heartbeat.
func next(tb testing.TB, s stream) *registryv1.WatchResponse {
	tb.Helper()
	for {
		m, err := s.Recv()
		if err != nil {
			tb.Fatal(err)
		}
		if m.GetHeartbeat() == nil {
			return m
		}
	}
}

func TestWatch(t *testing.T) {
	r, ctx := start(t, nil), t.Context()
	s := watch(t, r, 0)
	if m := next(t, s); !m.GetSnapshot().GetFirst() || !m.GetSnapshot().GetLast() || len(m.GetSnapshot().GetModels()) != 0 {
		t.Fatalf("an empty registry begins with %v", m)
	}
	_, err := r.CreateModel(ctx, &registryv1.CreateModelRequest{Name: "m"})
	fatal(t, err)
	if m := next(t, s); m.GetRevision() != 1 || m.GetChanged().GetModel().GetName() != "m" {
		t.Fatalf("got %v", m)
	}
	_, err = r.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: "m", Spec: spec("1")})
	fatal(t, err)
	if m := next(t, s); m.GetRevision() != 2 || len(m.GetChanged().GetVersions()) != 1 {
		t.Fatalf("got %v", m)
	}
	_, err = r.DeleteModel(ctx, &registryv1.DeleteModelRequest{Model: "m"})
	fatal(t, err)
	if m := next(t, s); m.GetRevision() != 3 || m.GetRemoved() != "m" {
		t.Fatalf("got %v", m)
	}
	if m := next(t, watch(t, r, 2)); m.GetRevision() != 3 || m.GetRemoved() != "m" {
		t.Fatalf("resumed after 2: %v", m)
	}
	_, err = watch(t, r, 4).Recv()
	if status.Code(err) != codes.OutOfRange {
		t.Errorf("from the future: %v", err)
	}
	wantError(t, err, apierr.OutOfRange, "from_revision")
	_, err = watch(t, r, -1).Recv()
	wantError(t, err, apierr.InvalidArgument, "from_revision")
}

func TestWatchersAreBounded(t *testing.T) {
	r := start(t, func(c *registry.Config) { c.Limits.Watchers = 1 })
	ctx, cancel := context.WithCancel(t.Context())
	first, err := r.Watch(ctx, &registryv1.WatchRequest{})
	fatal(t, err)
	next(t, first)
	_, err = watch(t, r, 0).Recv()
	wantError(t, err, apierr.Overloaded, "")
	if e := apierr.From(err); e.RetryAfter <= 0 {
		t.Errorf("the refusal does not say when to try again: %v", e)
	}
	cancel()
	for { // the place is free once the server has seen the end
		if _, err = watch(t, r, 0).Recv(); err == nil {
			return
		}
		wantError(t, err, apierr.Overloaded, "")
	}
}

func TestIdentityMayBeRequired(t *testing.T) {
	r := start(t, func(c *registry.Config) { c.Identity.Required = true })
	_, err := r.ListModels(t.Context(), &registryv1.ListModelsRequest{})
	wantError(t, err, apierr.Unauthenticated, "")
	next(t, watch(t, r, 0)) // services watch for themselves

	ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "ana"})
	err = identity.UnaryClient(identity.Plain())(ctx, registryv1.RegistryService_ListModels_FullMethodName,
		&registryv1.ListModelsRequest{}, &registryv1.ListModelsResponse{}, r.conn,
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, opts ...grpc.CallOption) error {
			return cc.Invoke(ctx, method, req, reply, opts...)
		})
	fatal(t, err)
}

func TestReadiness(t *testing.T) {
	r := start(t, nil)
	next(t, watch(t, r, 0)) // started
	report := r.service.Readiness().Report()
	if !report.Ready || len(report.Checks) != 1 || report.Checks[0].Name != registry.CheckStore {
		t.Errorf("got %+v", report)
	}
}
