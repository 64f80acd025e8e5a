package inference_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// An experiment decides by the caller, the session and the headers of a request,
// and the answer names it.
func TestExperiment(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("m", 3, fakes.Alias("production", 1),
		fakes.Experiment("cohort", func(e *registryv1.Experiment) {
			e.Targeting = &registryv1.Targeting{Conditions: []*registryv1.Condition{
				{Attribute: registryv1.Attribute_ATTRIBUTE_HEADER, Header: "x-cohort", Values: []string{"b"}},
			}}
		}, 2),
		fakes.Experiment("sessions", func(e *registryv1.Experiment) {
			e.StickyBy = registryv1.StickyBy_STICKY_BY_SESSION
			e.Overrides = []*registryv1.Override{{Tenant: "acme", Subject: "tess", Arm: "b"}}
		}, 1, 3)))
	m.awaitReady(t, "m", 1)
	req := chat("m", `{}`)
	req.ExperimentHeaders = map[string]string{"x-cohort": "b"}
	resp, err := m.client.Invoke(caller(t), req)
	if by := resp.GetServedBy(); err != nil || by.GetExperiment() != "cohort" || by.GetArm() != "a" || by.GetVersion() != 2 {
		t.Fatalf("served by %v, %v", by, err)
	}
	arms := map[string]string{}
	for i := range 40 {
		req := chat("m", `{}`)
		req.SessionId, req.RoutingKey = string(rune('a'+i%20)), string(rune('a'+i))
		resp, err := m.client.Invoke(caller(t), req)
		if err != nil || resp.GetServedBy().GetExperiment() != "sessions" {
			t.Fatalf("%v, %v", resp, err)
		}
		arm := resp.GetServedBy().GetArm()
		if before, ok := arms[req.GetSessionId()]; ok && before != arm {
			t.Fatalf("the session %s met two arms", req.GetSessionId())
		}
		arms[req.GetSessionId()] = arm
	}
	tess := identity.NewContext(caller(t), identity.Caller{Tenant: "acme", Subject: "tess"})
	for range 3 {
		if resp, err = m.client.Invoke(tess, chat("m", `{}`)); err != nil || resp.GetServedBy().GetVersion() != 3 {
			t.Fatalf("the tester met %v, %v", resp.GetServedBy(), err)
		}
	}
	if resp, err = m.client.Invoke(caller(t), chat("m@v1", `{}`)); err != nil || resp.GetServedBy().GetExperiment() != "" {
		t.Fatalf("a version that was named is of %v, %v", resp.GetServedBy(), err)
	}
}

// shadowed is a mesh whose model m copies every request for version 1 to version 2.
func shadowed(t *testing.T, shadow *registryv1.Shadow, invoke func(ctx context.Context, version2 bool) (string, error)) *mesh {
	t.Helper()
	m := newMesh(t, 1, meshOptions{worker: func(_ int, w *fakes.Worker) {
		w.OnInvoke = func(ctx context.Context, req *workerv1.InvokeRequest) (*workerv1.InvokeResponse, error) {
			text, err := invoke(ctx, req.GetDigest() == fakes.VersionDigest("m", 2))
			if err != nil {
				return nil, err
			}
			return &workerv1.InvokeResponse{
				Body:  []byte(`{"choices":[{"index":0,"message":{"role":"assistant","content":"` + text + `"}}]}`),
				Usage: &commonv1.TokenUsage{PromptTokens: 5, CompletionTokens: 3},
			}, nil
		}
		w.OnStream = func(_ *workerv1.InvokeRequest, stream workerStream) error {
			for _, word := range []string{"one", " two", " three"} {
				chunk := []byte(`{"choices":[{"index":0,"delta":{"content":"` + word + `"}}]}`)
				if err := stream.Send(&workerv1.InvokeStreamResponse{Event: &workerv1.InvokeStreamResponse_Chunk{Chunk: chunk}}); err != nil {
					return err
				}
			}
			return stream.Send(&workerv1.InvokeStreamResponse{Event: &workerv1.InvokeStreamResponse_Finish{Finish: &workerv1.Finish{}}})
		}
	}}, fakes.Model("m", 2, fakes.Alias("production", 1), fakes.Experiment("look", func(e *registryv1.Experiment) {
		e.LayerRanges, e.Shadow = nil, shadow
	})))
	m.awaitReady(t, "m", 1)
	m.awaitReady(t, "m@v2", 1)
	return m
}

// outcomes waits until so many copies are over, and returns how many ended how.
func (m *mesh) outcomes(t *testing.T, n float64) map[string]float64 {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); ; {
		families, err := m.telemetry.Registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out, total := make(map[string]float64), 0.0
		for _, f := range families {
			if f.GetName() != "poterne_inference_shadow_copies_total" {
				continue
			}
			for _, s := range f.GetMetric() {
				for _, l := range s.GetLabel() {
					if l.GetName() == "outcome" {
						out[l.GetValue()] += s.GetCounter().GetValue()
					}
				}
				total += s.GetCounter().GetValue()
			}
		}
		if total >= n {
			return out
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%v; want %v copies", out, n)
		}
	}
}

func TestShadow(t *testing.T) {
	same := atomic.Bool{}
	m := shadowed(t, &registryv1.Shadow{Version: 2, Share: 1_000_000}, func(_ context.Context, copied bool) (string, error) {
		if copied && !same.Load() {
			return "one two four", nil
		}
		return "one two three", nil
	})
	resp, err := m.client.Invoke(caller(t), chat("m", `{}`))
	if err != nil || resp.GetServedBy().GetVersion() != 1 || resp.GetServedBy().GetExperiment() != "" || !strings.Contains(string(resp.GetBody()), "three") {
		t.Fatalf("%v, %v", resp, err)
	}
	if got := m.outcomes(t, 1); got["different"] != 1 {
		t.Fatalf("%v", got)
	}
	same.Store(true)
	stream, err := m.client.InvokeStream(caller(t), chat("m", `{}`))
	for err == nil {
		_, err = stream.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if got := m.outcomes(t, 2); got["equal"] != 1 {
		t.Fatalf("%v", got)
	}
	if _, err := m.client.Invoke(caller(t), chat("m@v1", `{}`)); err != nil {
		t.Fatal(err)
	}
	if got := m.outcomes(t, 2); got["equal"]+got["different"] != 2 {
		t.Errorf("a request that names its version is copied: %v", got)
	}
}

// A copy that hangs or fails holds nobody up, and ends with its request's failure
// and with the service.
func TestShadowIsNeverInTheWay(t *testing.T) {
	var fails, refuses atomic.Bool
	ended := make(chan struct{}, 8)
	m := shadowed(t, &registryv1.Shadow{Version: 2, Share: 1_000_000}, func(ctx context.Context, copied bool) (string, error) {
		switch {
		case copied && refuses.Load():
			return "", apierr.New(apierr.EngineFailed, "it broke")
		case copied:
			<-ctx.Done()
			ended <- struct{}{}
			return "", ctx.Err()
		case fails.Load():
			return "", apierr.Invalid("messages", "must not be that")
		}
		return "hi", nil
	})
	if _, err := m.client.Invoke(caller(t), chat("m", `{}`)); err != nil {
		t.Fatal(err) // although its copy hangs
	}
	fails.Store(true)
	if _, err := m.client.Invoke(caller(t), chat("m", `{}`)); apierr.ReasonOf(err) != apierr.InvalidArgument {
		t.Fatal(err)
	}
	if got := m.outcomes(t, 1); got["cancelled"] != 1 {
		t.Errorf("%v", got)
	}
	fails.Store(false)
	refuses.Store(true)
	if _, err := m.client.Invoke(caller(t), chat("m", `{}`)); err != nil {
		t.Fatal(err)
	}
	if got := m.outcomes(t, 2); got["failed"] != 1 {
		t.Errorf("%v", got)
	}
	m.stop() // the first copy hangs until now
	if got := m.outcomes(t, 3); got["cancelled"] != 2 {
		t.Errorf("%v", got)
	}
}

func TestShadowBudget(t *testing.T) {
	m := shadowed(t, &registryv1.Shadow{Version: 2, Share: 1_000_000, RequestsPerMinute: 2}, func(context.Context, bool) (string, error) { return "hi", nil })
	for range 6 {
		if _, err := m.client.Invoke(caller(t), chat("m", `{}`)); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.outcomes(t, 6); got["equal"] != 2 || got["over_budget"] != 4 {
		t.Errorf("%v", got)
	}
}
