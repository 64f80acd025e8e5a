package scenario

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// floodClients ask a model of one slot at once.
const floodClients = 5

// Saturation floods a model that allows it, until a smaller variant is loaded for
// the load and answers, and says so; and asks for that variant by its digest.
func Saturation(t *testing.T, g Target) {
	const model = "saturated"
	base := "/v1/registry/models/" + model
	spec := func(rate string) map[string]any {
		return map[string]any{
			"task": "TASK_CHAT", "engine": "sim", "context_length": 2048,
			"parameters": map[string]any{"slots": "1", "decode-rate": rate, "answer-tokens": "8"},
		}
	}
	g.Call(t, http.MethodPost, "/v1/registry/models", map[string]any{
		"name": model, "labels": map[string]any{"poterne.dev/max-replicas": "2", "poterne.dev/idle-unload": "oops"},
	}, http.StatusOK)
	changed := g.Call(t, http.MethodPatch, base, map[string]any{
		"labels": map[string]any{"poterne.dev/saturation-fallback": "true"}, "remove_labels": []string{"poterne.dev/idle-unload"},
	}, http.StatusOK).JSON(t)
	if labels, _ := changed["labels"].(map[string]any); len(labels) != 2 {
		t.Errorf("the model's labels are %v", labels)
	}
	g.Call(t, http.MethodPost, base+"/versions", map[string]any{"spec": spec("20")}, http.StatusOK)
	small := g.Call(t, http.MethodPost, base+"/versions/1/variants", map[string]any{
		"variant": "small", "spec": spec("40"), "quality": map[string]any{"loss": 0.1},
	}, http.StatusOK).JSON(t)
	g.waitServed(t, model)
	if a := g.ask(t, model, ""); a.Header.Get("x-poterne-variant") != "base" || a.Header.Get("x-poterne-variant-reason") != "" {
		t.Errorf("with nothing to do: %v", a.Header)
	}
	if reason := g.flood(t, model, "small"); reason != "saturation" {
		t.Errorf("the smaller variant answered because of %q", reason)
	}
	card := g.Call(t, http.MethodGet, "/v1/models/"+model, nil, http.StatusOK).JSON(t)
	if Path(card, "variants", 0, "name") != "base" || Path(card, "variants", 1, "ready_workers") != 1.0 {
		t.Errorf("the model's card is %v", card)
	}
	exact := fmt.Sprintf("%s@%s", model, small["digest"])
	g.waitServed(t, exact)
	if a := g.ask(t, exact, ""); a.Header.Get("x-poterne-variant") != "small" || a.Header.Get("x-poterne-variant-reason") != "" {
		t.Errorf("asked for by its digest: %v", a.Header)
	}
	g.Call(t, http.MethodDelete, base+"/versions/1/variants/small", nil, http.StatusOK)
	poll(t, func() error { // until inference has heard of it
		a, err := g.Do(t.Context(), http.MethodPost, "/v1/chat/completions", g.AdminKey, map[string]any{"model": exact, "messages": User("Hi.")})
		if err == nil && a.Status != http.StatusNotFound {
			err = fmt.Errorf("a variant that is deleted: HTTP %d: %s", a.Status, a.Body)
		}
		return err
	})
	g.Call(t, http.MethodDelete, base, nil, http.StatusOK)
}

// flood asks until a variant answers, and returns why it did.
func (g Target) flood(t *testing.T, model, variant string) (reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), CallTimeout)
	defer cancel()
	var once sync.Once
	var wg sync.WaitGroup
	for range floodClients {
		wg.Go(func() {
			for ctx.Err() == nil {
				a, err := g.Do(ctx, http.MethodPost, "/v1/chat/completions", g.AdminKey, map[string]any{"model": model, "messages": User("Hi.")})
				switch {
				case err != nil && ctx.Err() == nil:
					t.Errorf("under the flood: %v", err)
					return
				case err == nil && a.Status != http.StatusOK:
					t.Errorf("under the flood: HTTP %d: %s", a.Status, a.Body)
					return
				case err == nil && a.Header.Get("x-poterne-variant") == variant:
					once.Do(func() { reason = a.Header.Get("x-poterne-variant-reason") })
					cancel()
				}
			}
		})
	}
	wg.Wait()
	return reason
}
