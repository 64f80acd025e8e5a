package inference_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

func TestMetrics(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("m", 1))
	if _, err := m.client.Invoke(caller(t), chat("m", `{}`)); err != nil {
		t.Fatal(err)
	}
	stream, err := m.client.InvokeStream(caller(t), chat("m", `{}`))
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	m.stop()
	families, err := m.telemetry.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, f := range families {
		if (strings.HasPrefix(f.GetName(), "poterne_inference_") || strings.HasPrefix(f.GetName(), "gen_ai_")) && len(f.GetMetric()) > 0 {
			found[f.GetName()] = f.GetMetric()[0].String()
		}
	}
	tokens := make(map[string]float64)
	for _, f := range families {
		if f.GetName() != "poterne_inference_tokens_total" {
			continue
		}
		for _, s := range f.GetMetric() {
			for _, l := range s.GetLabel() {
				if l.GetName() == "kind" {
					tokens[l.GetValue()] = s.GetCounter().GetValue()
				}
			}
		}
	}
	if tokens["input"] < 10 || tokens["cached"] < 4 || tokens["output"] < 6 {
		t.Errorf("tokens: %v", tokens)
	}
	for _, name := range []string{
		"poterne_inference_queue_time_seconds", "poterne_inference_overhead_seconds", "poterne_inference_tokens_total",
		"poterne_inference_requests_total", "poterne_inference_in_flight", "poterne_inference_duration_seconds",
		"gen_ai_server_time_to_first_token_seconds", "poterne_inference_attempts_total",
		"poterne_inference_placement_requests_total",
	} {
		if found[name] == "" {
			t.Errorf("%s is missing; there are %v", name, found)
		}
	}
	if got := found["poterne_inference_in_flight"]; !strings.Contains(got, "value:0") {
		t.Errorf("in flight after the end: %s", got)
	}
}

func TestConfig(t *testing.T) {
	if err := inference.DefaultConfig().Complete(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	cfg := inference.DefaultConfig()
	cfg.GRPC.Addr = "nowhere"
	cfg.Placement.Replicas = -1
	cfg.Routing.MaxAttempts = 99
	cfg.Workers.StaleAfter = time.Millisecond
	err := cfg.Complete()
	for _, path := range []string{"grpc.addr", "placement.replicas", "routing.max_attempts", "workers.stale_after"} {
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s is not among the problems: %v", path, err)
		}
	}
}
