package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/poterne/poterne/pkg/telemetry"
)

func page(t *testing.T, tel *telemetry.Telemetry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(tel.Registry, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	body, err := io.ReadAll(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// What a page of metrics says does not depend on how additions are kept.
func TestCounters(t *testing.T) {
	sent := telemetry.DefaultConfig("")
	sent.OTLPEndpoint, sent.OTLPProtocol = "http://127.0.0.1:1", "http"
	pages := map[string]string{}
	for name, cfg := range map[string]telemetry.Config{"told": telemetry.DefaultConfig(""), "sent": sent} {
		tel, err := telemetry.New(t.Context(), "test", "v1", cfg, telemetry.WithLogWriter(io.Discard))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			gone, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			cancel()
			_ = tel.Shutdown(gone) // there is no receiver
		})
		// Two services of one process make the same metric.
		for range 2 {
			things, err := tel.Counter("test", "poterne.things", "Things.")
			if err != nil {
				t.Fatal(err)
			}
			here, err := tel.UpDownCounter("test", "poterne.here", "Here.")
			if err != nil {
				t.Fatal(err)
			}
			good, again := things.Series(attribute.String("kind", "good")), things.Series(attribute.String("kind", "good"))
			_ = things.Series(attribute.String("kind", "never"))
			x := here.Series(attribute.String("kind", "x"))
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					good.Add(t.Context(), 2)
					again.Add(t.Context(), 1)
					x.Add(t.Context(), 3)
					x.Add(t.Context(), -3)
				})
			}
			all.Wait()
			x.Add(t.Context(), 5)
		}
		var lines []string
		for line := range strings.Lines(page(t, tel)) {
			if strings.Contains(line, "poterne_things") || strings.Contains(line, "poterne_here") {
				lines = append(lines, line)
			}
		}
		pages[name] = strings.Join(lines, "")
	}
	if pages["told"] != pages["sent"] {
		t.Errorf("told:\n%s\nsent:\n%s", pages["told"], pages["sent"])
	}
	for _, want := range []string{`poterne_things_total{kind="good"} 24`, `poterne_here{kind="x"} 10`, "# TYPE poterne_here gauge", "# HELP poterne_things_total Things."} {
		if !strings.Contains(pages["told"], want) {
			t.Errorf("no %s in:\n%s", want, pages["told"])
		}
	}
}

func TestKept(t *testing.T) {
	var k telemetry.Kept[string, *int]
	made := 0
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			got := k.Get(string(rune('a'+i%4)), func(key string) *int { made++; n := int(key[0]); return &n })
			if *got != 'a'+i%4 {
				t.Errorf("%d: %d", i, *got)
			}
		})
	}
	all.Wait()
	if made != 4 {
		t.Errorf("made %d times", made)
	}
	// Those that come at the same moment get the same one.
	for round := range 100 {
		var k telemetry.Kept[int, *int]
		var made, other atomic.Int64
		begin := make(chan struct{})
		var first atomic.Pointer[int]
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				<-begin
				got := k.Get(round, func(int) *int {
					made.Add(1)
					runtime.Gosched()
					return new(int)
				})
				if !first.CompareAndSwap(nil, got) && first.Load() != got {
					other.Add(1)
				}
			})
		}
		close(begin)
		all.Wait()
		if made.Load() != 1 || other.Load() != 0 {
			t.Fatalf("made %d times, and %d got another", made.Load(), other.Load())
		}
	}
	if n := testing.AllocsPerRun(100, func() { k.Get("a", nil) }); n != 0 {
		t.Errorf("finding allocates %v times", n)
	}
}

// Spans that nobody receives are parts of traces all the same, and one is enough for all
// that a process does within it.
func TestUnrecordedSpans(t *testing.T) {
	tracer := telemetry.Discard().Tracer("test")
	ctx, root := tracer.Start(t.Context(), "root")
	_, child := tracer.Start(ctx, "child")
	_, other := tracer.Start(ctx, "other", trace.WithNewRoot())
	r, o := root.SpanContext(), other.SpanContext()
	if !r.IsValid() || r.IsSampled() || child != root || o.SpanID() == r.SpanID() || o.TraceID() == r.TraceID() || !o.IsValid() {
		t.Errorf("root %v, child %v, other %v", r, child.SpanContext(), o)
	}
	state, err := trace.ParseTraceState("a=b")
	if err != nil {
		t.Fatal(err)
	}
	far := r.WithTraceFlags(trace.FlagsSampled).WithTraceState(state).WithRemote(true)
	_, near := child.TracerProvider().Tracer("x").Start(trace.ContextWithRemoteSpanContext(t.Context(), far), "near", trace.WithSpanKind(trace.SpanKindServer))
	n := near.SpanContext()
	if n.TraceID() != far.TraceID() || !n.IsSampled() || n.TraceState().String() != "a=b" || n.IsRemote() || bytes.Equal(idOf(n), idOf(far)) {
		t.Errorf("near %v of %v", n, far)
	}
}

func idOf(s trace.SpanContext) []byte { id := s.SpanID(); return id[:] }
