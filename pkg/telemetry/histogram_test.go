package telemetry_test

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/attribute"

	"github.com/poterne/poterne/pkg/telemetry"
)

// What is held and what OpenTelemetry has of its own is one page.
func TestHistograms(t *testing.T) {
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
			took, err := tel.Histogram("test", telemetry.HistogramOptions{
				Name: "poterne.took", Unit: "s", Description: "Time taken.", Bounds: []float64{.25, .5, 1},
			})
			if err != nil {
				t.Fatal(err)
			}
			_ = took.Series(attribute.String("gen_ai.kind", "never"))
			plain := took.Series()
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					s := took.Series(attribute.String("gen_ai.kind", "good"), attribute.Int("n", 1))
					for _, v := range []float64{-1, 0, .25, .3125, .5, 1, 1.5, 64} {
						s.Record(t.Context(), v)
					}
					plain.Record(t.Context(), .5)
				})
			}
			all.Wait()
		}
		many, err := tel.Histogram("test", telemetry.HistogramOptions{Name: "poterne.many", Bounds: []float64{1}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2100 {
			many.Series(attribute.Int("i", i)).Record(t.Context(), 1)
		}
		var lines []string
		for line := range strings.Lines(page(t, tel)) {
			if strings.Contains(line, "poterne_took") || strings.Contains(line, "poterne_many_sum{otel_") {
				lines = append(lines, line)
			}
		}
		pages[name] = strings.Join(lines, "")
	}
	if pages["told"] != pages["sent"] {
		t.Errorf("told:\n%s\nsent:\n%s", pages["told"], pages["sent"])
	}
	for _, want := range []string{
		"# HELP poterne_took_seconds Time taken.", "# TYPE poterne_took_seconds histogram",
		`poterne_took_seconds_bucket{gen_ai_kind="good",n="1",le="0.25"} 24`, `poterne_took_seconds_bucket{gen_ai_kind="good",n="1",le="+Inf"} 64`,
		`poterne_took_seconds_sum{gen_ai_kind="good",n="1"} ` + strconv.FormatFloat(8*66.5625, 'g', -1, 64), `poterne_took_seconds_count 8`,
		`poterne_many_sum{otel_metric_overflow="true"} 101`,
	} {
		if !strings.Contains(pages["told"], want) {
			t.Errorf("no %s in:\n%s", want, pages["told"])
		}
	}
}

func BenchmarkHistogram(b *testing.B) {
	tel := telemetry.Discard()
	h, err := tel.Histogram("test", telemetry.HistogramOptions{Name: "poterne.took", Unit: "s", Bounds: []float64{.25, .5, 1}})
	if err != nil {
		b.Fatal(err)
	}
	s := h.Series(attribute.String("kind", "good"))
	for b.Loop() {
		s.Record(b.Context(), .3)
	}
}
