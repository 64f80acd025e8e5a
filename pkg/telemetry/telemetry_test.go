package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
)

func TestLogsCarryTheIdentifiers(t *testing.T) {
	var out bytes.Buffer
	tel, err := telemetry.New(t.Context(), "edge", "v1", telemetry.DefaultConfig(""), telemetry.WithLogWriter(&out))
	if err != nil {
		t.Fatal(err)
	}
	parent := propagation.MapCarrier{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	ctx := tel.Propagator.Extract(requestid.NewContext(t.Context(), "req-1"), parent)
	ctx, span := tel.Tracer("test").Start(ctx, "x")
	defer span.End()
	tel.Logger.With("a", 1).InfoContext(ctx, "hello")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["trace_id"] != "4bf92f3577b34da6a3ce929d0e0e4736" || line["span_id"] != span.SpanContext().SpanID().String() ||
		line["request_id"] != "req-1" || line["service"] != "edge" || line["version"] != "v1" || line["a"] != 1.0 {
		t.Fatalf("%s", out.String())
	}
	// The caller's decision to sample travels on, though nothing is recorded here.
	outgoing := propagation.MapCarrier{}
	tel.Propagator.Inject(ctx, outgoing)
	if !strings.HasPrefix(outgoing["traceparent"], "00-4bf92f3577b34da6a3ce929d0e0e4736-") || !strings.HasSuffix(outgoing["traceparent"], "-01") {
		t.Fatalf("traceparent: %q", outgoing["traceparent"])
	}
	root, rootSpan := tel.Tracer("test").Start(t.Context(), "root")
	defer rootSpan.End()
	if !rootSpan.SpanContext().HasTraceID() || rootSpan.IsRecording() {
		t.Fatal("without an endpoint a trace has an id and records nothing")
	}
	out.Reset()
	tel.Logger.DebugContext(root, "quiet")
	if out.Len() > 0 {
		t.Fatalf("logged below the level: %s", out.String())
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestOpsServer(t *testing.T) {
	tel := telemetry.Discard()
	counter, err := tel.Meter("test").Int64Counter("poterne.things", metric.WithDescription("Things."))
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3, metric.WithAttributes(attribute.String("kind", "good")))
	ready := health.NewReadiness(clock.Real())
	check := ready.Register("database")
	ops := telemetry.NewOpsServer("127.0.0.1:0", tel, ready)
	if ops.Addr() != nil {
		t.Fatal("it must not listen before it is started")
	}
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- lifecycle.Run(ctx, lifecycle.Options{}, ops.Component(), lifecycle.Component{
			Name: "signal", Start: func(context.Context) error { close(started); return nil },
		})
	}()
	<-started
	base := "http://" + ops.Addr().String()
	if code, body := get(t, base+"/livez"); code != 200 || body != "ok\n" {
		t.Fatalf("/livez: %d %s", code, body)
	}
	if code, body := get(t, base+"/readyz"); code != 503 || !strings.Contains(body, `"name":"database","ready":false,"reason":"starting"`) {
		t.Fatalf("/readyz: %d %s", code, body)
	}
	check.Ready()
	if code, _ := get(t, base+"/readyz"); code != 200 {
		t.Fatalf("/readyz: %d", code)
	}
	code, body := get(t, base+"/metrics")
	for _, want := range []string{
		`poterne_things_total{kind="good"} 3`, "go_goroutines ", `poterne_build_info{go_version="` + runtime.Version() + `",service="test",version="test"} 1`,
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Fatalf("/metrics lacks %s:\n%s", want, body)
		}
	}
	if code, _ := get(t, base+"/debug/pprof/goroutine?debug=1"); code != 200 {
		t.Fatalf("pprof: %d", code)
	}
	if code, _ := get(t, base+"/nothing"); code != 404 {
		t.Fatalf("/nothing: %d", code)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestOpsPortTaken(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	ops := telemetry.NewOpsServer(srv.Listener.Addr().String(), telemetry.Discard(), health.NewReadiness(clock.Real()))
	if err := lifecycle.Run(t.Context(), lifecycle.Options{}, ops.Component()); err == nil || !strings.Contains(err.Error(), "ops port") {
		t.Fatalf("Run = %v", err)
	}
}

func TestOTLPOverHTTP(t *testing.T) {
	paths := make(chan string, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths <- r.URL.Path
		w.WriteHeader(http.StatusOK)
	}))
	defer srv.Close()
	cfg := telemetry.DefaultConfig("")
	cfg.OTLPEndpoint, cfg.OTLPProtocol = srv.URL, "http"
	tel, err := telemetry.New(t.Context(), "edge", "v1", cfg, telemetry.WithLogWriter(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer("test").Start(t.Context(), "x")
	if !span.IsRecording() {
		t.Fatal("with an endpoint spans are recorded")
	}
	span.End()
	counter, err := tel.Meter("test").Int64Counter("c")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 1)
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(paths)
	got := map[string]bool{}
	for p := range paths {
		got[p] = true
	}
	if !got["/v1/traces"] || !got["/v1/metrics"] {
		t.Fatalf("sent to %v", got)
	}
}

func TestValidate(t *testing.T) {
	var p config.Problems
	telemetry.DefaultConfig("127.0.0.1:0").Validate(&p, "telemetry")
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	telemetry.Config{LogLevel: "loud", LogFormat: "xml", OTLPProtocol: "udp", SampleRatio: 2, OpsAddr: "nine", OTLPEndpoint: "://"}.Validate(&p, "telemetry")
	if err := p.Err(); err == nil || strings.Count(err.Error(), "\n") != 7 {
		t.Fatalf("Validate = %v, want 7 problems", err)
	}
}
