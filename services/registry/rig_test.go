package registry_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

// rig is a registry that serves through its whole chain, on a connection in
// memory.
type rig struct {
	registryv1.RegistryServiceClient
	service *registry.Service
	conn    *grpc.ClientConn
}

func start(tb testing.TB, change func(*registry.Config), opts ...registry.Option) *rig {
	tb.Helper()
	cfg := registry.DefaultConfig()
	cfg.Store.DSN = config.SecretURL("sqlite://" + filepath.Join(tb.TempDir(), "registry.db"))
	cfg.Store.Sync = "normal"
	cfg.Artifacts.Dir, cfg.Artifacts.MinFree = filepath.Join(tb.TempDir(), "artifacts"), 0
	if change != nil {
		change(cfg)
	}
	if err := cfg.Complete(); err != nil {
		tb.Fatal(err)
	}
	tel := telemetry.Discard()
	s, err := registry.New(tb.Context(), *cfg, append([]registry.Option{registry.WithTelemetry(tel)}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	lis := bufconn.Listen(1 << 20)
	srv, err := grpcserver.New(cfg.GRPC, tel, s.Interceptors(), s.RegisterGRPC,
		grpcserver.WithListener(lis), grpcserver.WithReadiness(s.Readiness()))
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	done := make(chan error, 1)
	go func() {
		done <- lifecycle.Run(ctx, lifecycle.Options{}, append(s.Components(), srv.Component(), s.EndWatches())...)
	}()
	conn, err := grpc.NewClient("passthrough:///registry", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := conn.Close(); err != nil {
			tb.Error(err)
		}
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	return &rig{RegistryServiceClient: registryv1.NewRegistryServiceClient(conn), service: s, conn: conn}
}

func spec(seed string) *commonv1.ModelSpec {
	return &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_CHAT, Engine: "sim", Parameters: map[string]string{"seed": seed},
	}
}

// wantError checks the reason of err and that it names the field and the
// request.
func wantError(t *testing.T, err error, reason apierr.Reason, field string) {
	t.Helper()
	e := apierr.From(err)
	if e == nil || e.Reason != reason || e.Field != field {
		t.Fatalf("got %v, want %s of field %q", err, reason, field)
	}
	if e.RequestID() == "" {
		t.Errorf("the error names no request: %v", err)
	}
}
