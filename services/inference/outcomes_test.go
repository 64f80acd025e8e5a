package inference_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// Every request that ran a model reaches the registry under the arm that its
// caller was told, also when the service ends before its next batch.
func TestOutcomesReachTheRegistry(t *testing.T) {
	m := newMesh(t, 1, meshOptions{config: func(c *inference.Config) {
		c.Outcomes.SpoolDir = t.TempDir()
		c.Outcomes.Segments = map[string]string{"acme": "gold"}
	}}, fakes.Model("m", 2, fakes.Split("control", 1, 500_000), fakes.Split("candidate", 2, 500_000)))
	for v := range 2 {
		m.awaitReady(t, fmt.Sprintf("m@v%d", v+1), 1)
	}
	want, streams := make(map[string]int64), make(map[string]int64)
	for i := range 30 {
		req := chat("m", `{"messages":[]}`)
		req.RoutingKey = fmt.Sprint("user", i%20)
		if i%3 > 0 {
			resp, err := m.client.Invoke(caller(t), req)
			if err != nil {
				t.Fatal(err)
			}
			want[resp.GetServedBy().GetArm()]++
			continue
		}
		arm := streamed(t, m, req)
		want[arm]++
		streams[arm]++
	}
	_, err := m.client.CountTokens(caller(t), &inferencev1.CountTokensRequest{
		Model: "m", Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(`{}`),
	})
	if err != nil {
		t.Log(err) // counted or not, no model ran
	}
	m.stop()
	got, first, subjects := make(map[string]int64), make(map[string]int64), 0
	for _, b := range m.registry.Reported() {
		for _, o := range b.GetOutcomes() {
			got[o.GetArm()] += o.GetSums().GetRequests()
			first[o.GetArm()] += o.GetSums().GetFirstTokenSeconds().GetCount()
			if o.GetModel() != "m" || o.GetSegment() != "gold" || o.GetSums().GetErrors() > 0 {
				t.Errorf("counted %v", o)
			}
		}
		for _, e := range b.GetExposures() {
			for _, s := range e.GetShares() {
				subjects += len(s.GetSubjects())
			}
		}
	}
	for _, arm := range []string{"control", "candidate"} {
		if got[arm] != want[arm] || first[arm] != streams[arm] || want[arm] == 0 {
			t.Errorf("%s: %d requests and %d streams are counted, want %d and %d", arm, got[arm], first[arm], want[arm], streams[arm])
		}
	}
	if len(got) != 2 || subjects != 20 {
		t.Errorf("arms are %v, with %d subjects", got, subjects)
	}
}

// streamed returns the arm that answered a stream.
func streamed(t *testing.T, m *mesh, req *inferencev1.InvokeRequest) (arm string) {
	t.Helper()
	stream, err := m.client.InvokeStream(caller(t), req)
	if err != nil {
		t.Fatal(err)
	}
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return arm
		}
		if err != nil {
			t.Fatal(err)
		}
		if by := msg.GetServedBy(); by != nil {
			arm = by.GetArm()
		}
	}
}
