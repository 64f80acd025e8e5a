package edge_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge"
)

// gate is an edge that runs in this process, with fakes behind it and a real
// HTTP server in front.
type gate struct {
	*edge.Service
	t         testing.TB
	url       string
	key       string
	inference *fakeInference
	search    *fakeSearch
	registry  *fakeRegistry
	artifacts *fakeArtifacts
}

func open(tb testing.TB, change func(*edge.Config), opts ...edge.Option) *gate {
	tb.Helper()
	g := build(tb, change, opts...)
	g.run()
	server := httptest.NewServer(g.Handler())
	tb.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// build puts a gate together of which nothing runs.
func build(tb testing.TB, change func(*edge.Config), opts ...edge.Option) *gate {
	tb.Helper()
	g := &gate{t: tb, inference: &fakeInference{ready: true}, search: new(fakeSearch), registry: new(fakeRegistry), artifacts: new(fakeArtifacts)}
	cfg := edge.DefaultConfig()
	cfg.DataDir = tb.TempDir()
	cfg.HTTP.MaxBodyBytes = 64 * config.KiB
	if change != nil {
		change(cfg)
	}
	if err := cfg.Complete(); err != nil {
		tb.Fatalf("Complete: %v", err)
	}
	migrated(tb, string(cfg.Security.Store.DSN), filepath.Join(cfg.DataDir, "edge.db"))
	var err error
	g.Service, err = edge.New(tb.Context(), *cfg, append([]edge.Option{
		edge.WithTelemetry(telemetry.Discard()),
		edge.WithInferenceConn(backend(tb, func(r grpc.ServiceRegistrar) {
			inferencev1.RegisterInferenceServiceServer(r, g.inference)
		})),
		edge.WithSearchConn(remote{backend(tb, func(r grpc.ServiceRegistrar) { searchv1.RegisterSearchServiceServer(r, g.search) })}),
		edge.WithRegistryConn(backend(tb, func(r grpc.ServiceRegistrar) {
			registryv1.RegisterRegistryServiceServer(r, g.registry)
			registryv1.RegisterArtifactServiceServer(r, g.artifacts)
		})),
	}, opts...)...)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	key, err := os.ReadFile(filepath.Join(cfg.DataDir, edge.AdminKeyFile))
	if err != nil && g.AdminKeyPath() != "" { // there is none beside another gate on the same store
		tb.Fatalf("the first key: %v", err)
	}
	g.key = strings.TrimSpace(string(key))
	return g
}

// run runs the background work until the test ends.
func (g *gate) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(g.t.Context()))
	done := make(chan error, 1)
	comps := g.Components() // here, so that its readiness check is there when run returns
	go func() { done <- lifecycle.Run(ctx, lifecycle.Options{}, comps...) }()
	g.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			g.t.Errorf("the background work ended with %v", err)
		}
	})
}

// answer is an HTTP answer, read to its end.
type answer struct {
	status int
	header http.Header
	text   string
	json   map[string]any
}

// do sends a request with the administrator's key; pairs are further headers.
func (g *gate) do(method, path, body string, pairs ...string) answer {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "" {
			req.Header.Del(pairs[i])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(raw)}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && !strings.HasPrefix(a.text, "[") {
		if err := json.Unmarshal(raw, &a.json); err != nil && method != http.MethodHead {
			g.t.Fatalf("%s %s: no JSON: %v\n%s", method, path, err, raw)
		}
	}
	if resp.Header.Get("X-Request-Id") == "" {
		g.t.Errorf("%s %s: no request id", method, path)
	}
	return a
}

// at returns the value at a path of names and indexes.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func (a answer) at(path ...any) any { return at(a.json, path...) }
