package inference_test

import (
	"fmt"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/fakes"
)

// What is said to answer is what answers.
func TestWhatWouldAnswerIsWhatAnswers(t *testing.T) {
	m := newMesh(t, 1, meshOptions{}, fakes.Model("m", 2, fakes.Split("control", 1, 500_000), fakes.Split("candidate", 2, 500_000)),
		fakes.Model("b-beta", 1, of("beta")))
	m.awaitReady(t, "m", 1)
	m.registry.PutPrompt(fakes.Prompt("greeting", []string{"!name"}, "Greet {{name}}.", "Hello {{name}}."))
	m.awaitPrompt(t, "greeting")
	met := make(map[string]bool)
	for i := range 20 {
		req := prompted("m", "greeting", "1", map[string]string{"name": "Ada"})
		req.RoutingKey = fmt.Sprintf("user:%d", i)
		said, err := m.client.ResolveServing(caller(t), &inferencev1.ResolveServingRequest{
			Model: "m", RoutingKey: req.GetRoutingKey(), Chat: true, Prompt: req.GetPrompt(),
		})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := m.client.Invoke(caller(t), req)
		if err != nil {
			t.Fatal(err)
		}
		by := resp.GetServedBy()
		if said.GetModel() != by.GetModel() || said.GetVersion() != by.GetVersion() || said.GetDigest() != by.GetDigest() || said.GetArm() != by.GetArm() ||
			said.GetPromptDigest() != by.GetPromptDigest() || said.GetPromptDigest() == "" || said.GetRevision() == 0 {
			t.Errorf("%v was said, and %v answered", said, by)
		}
		met[said.GetArm()] = true
		if said.GetBasis() != inferencev1.ServingBasis_SERVING_BASIS_SUBJECT {
			t.Errorf("%v rests on the routing key", said)
		}
	}
	if len(met) != 2 {
		t.Errorf("20 keys met %v", met)
	}
	for model, want := range map[string]inferencev1.ServingBasis{
		"m": inferencev1.ServingBasis_SERVING_BASIS_REQUEST, "m@v2": inferencev1.ServingBasis_SERVING_BASIS_MODEL,
	} {
		said, err := m.client.ResolveServing(caller(t), &inferencev1.ResolveServingRequest{Model: model})
		if err != nil || said.GetBasis() != want {
			t.Errorf("%s without a routing key: %v, %v", model, said, err)
		}
	}
	ctx := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "alice"})
	for _, model := range []string{"b-beta", "nothing"} {
		_, err := m.client.ResolveServing(ctx, &inferencev1.ResolveServingRequest{Model: model})
		wantReason(t, err, apierr.ModelNotFound, "model")
	}
	_, err := m.client.ResolveServing(ctx, &inferencev1.ResolveServingRequest{Model: "m", Chat: true, Prompt: &inferencev1.Prompt{Id: "unknown"}})
	wantReason(t, err, apierr.NotFound, "prompt.id")
}
