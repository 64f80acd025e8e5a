//go:build real

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/e2e/mesh"
	"github.com/poterne/poterne/e2e/scenario"
	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// TestRealMeshIdentity: the processes of a deployment prove to each other on whose
// behalf they call, and refuse whoever cannot.
func TestRealMeshIdentity(t *testing.T) {
	m, g := startMesh(t, mesh.EngineSim)
	g.Call(t, "POST", "/v1/chat/completions", map[string]any{
		"model": g.ChatModel, "max_tokens": 4, "messages": []any{map[string]any{"role": "user", "content": "hello"}},
	}, 200)
	t.Run("search", func(t *testing.T) { retrieves(t, g) })

	root := identity.NewContext(t.Context(), identity.NewCaller("default", "mallory", []string{"admin"}, nil))
	foreign := filepath.Join(t.TempDir(), "foreign.key")
	private, _, err := signing.Generate()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(foreign, private, 0o600); err != nil {
		t.Fatal(err)
	}
	for service, addr := range m.Backends() {
		from := "edge"
		if service == "poterne-worker" {
			from = "inference"
		}
		// The process is who it may be; what is asked is for whom it calls.
		conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(issued(t, m.Authority(), mesh.ID(from))))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		ask := func(opts ...grpcclient.Option) error {
			ctx, cancel := context.WithTimeout(root, 10*time.Second)
			defer cancel()
			return asks(ctx, service, grpcclient.Intercept(service, conn, grpcclient.DefaultConfig(), telemetry.Discard(), opts...))
		}
		refused := map[string]error{
			"nobody":                  ask(),
			"plain":                   ask(grpcclient.WithInterceptors(identity.UnaryClient(identity.Plain()), identity.StreamClient(identity.Plain()))),
			"a foreign key":           ask(signedBy(t, "poterne-edge", foreign).Issue(service)),
			"search's key":            ask(signedBy(t, "poterne-search", m.SigningKey("search")).Issue(service)),
			"the edge's, for another": ask(signedBy(t, "poterne-edge", m.SigningKey("edge")).Issue("poterne-elsewhere")),
		}
		for name, err := range refused {
			if apierr.ReasonOf(err) != apierr.Unauthenticated {
				t.Errorf("%s, by %s: %v", service, name, err)
			}
		}
		by := signedBy(t, "poterne-edge", m.SigningKey("edge")).Issue(service)
		if service == "poterne-worker" {
			by = signedBy(t, "poterne-inference", m.SigningKey("inference")).Own(service)
		}
		if err := ask(by); err != nil {
			t.Errorf("%s, by who may: %v", service, err)
		}
	}
}

// retrieves writes a document and has a chat cite it.
func retrieves(t *testing.T, g scenario.Target) {
	t.Helper()
	g.Call(t, "POST", "/v1/collections", map[string]any{"id": "gates"}, 200)
	g.Call(t, "POST", "/v1/collections/gates/documents:batchUpsert", map[string]any{
		"refresh": "wait", "documents": []any{map[string]any{"id": "d", "text": "The gate is guarded at night."}},
	}, 200)
	got := g.Call(t, "POST", "/v1/chat/completions", map[string]any{
		"model": g.ChatModel, "max_tokens": 4, "messages": []any{map[string]any{"role": "user", "content": "Who guards the gate?"}},
		"retrieval": map[string]any{"collection": "gates"},
	}, 200)
	if !strings.Contains(string(got.Body), "document_citation") {
		t.Errorf("no citation: %s", got.Body)
	}
}

func signedBy(t *testing.T, service, key string) *assertion.Assertions {
	t.Helper()
	cfg := assertion.DefaultConfig()
	cfg.SigningKeyFile = key
	a, err := assertion.Open(assertion.Options{Service: service, Config: cfg, Clock: clock.Real(), Telemetry: telemetry.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// asks a service for something that changes nothing.
func asks(ctx context.Context, service string, conn grpc.ClientConnInterface) (err error) {
	switch service {
	case "poterne-inference":
		_, err = inferencev1.NewInferenceServiceClient(conn).ListServedModels(ctx, new(inferencev1.ListServedModelsRequest))
	case "poterne-search":
		_, err = searchv1.NewSearchServiceClient(conn).ListCollections(ctx, new(searchv1.ListCollectionsRequest))
	case "poterne-registry":
		_, err = registryv1.NewRegistryServiceClient(conn).ListModels(ctx, new(registryv1.ListModelsRequest))
	default:
		var s grpc.ServerStreamingClient[workerv1.WatchStateResponse]
		if s, err = workerv1.NewWorkerServiceClient(conn).WatchState(ctx, new(workerv1.WatchStateRequest)); err == nil {
			_, err = s.Recv()
		}
	}
	return err
}
