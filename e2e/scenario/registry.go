package scenario

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Registry makes a second version of the chat model, moves an alias by
// compare-and-set, and splits the traffic.
func Registry(t *testing.T, g Target) {
	base := "/v1/registry/models/" + g.ChatModel
	v1 := g.Call(t, http.MethodGet, base+"/versions/1", nil, http.StatusOK).JSON(t)
	spec, _ := v1["spec"].(map[string]any)
	again := g.Call(t, http.MethodPost, base+"/versions", map[string]any{"spec": spec}, http.StatusOK).JSON(t)
	if again["digest"] != v1["digest"] || Path(again, "number") != Path(v1, "number") {
		t.Errorf("the same content made another version: %v", again)
	}
	spec["context_length"] = 1024
	v2 := g.Call(t, http.MethodPost, base+"/versions", map[string]any{"spec": spec, "description": "a shorter context"}, http.StatusOK).JSON(t)
	if v2["digest"] == v1["digest"] {
		t.Fatalf("other content, same digest: %v", v2)
	}
	number := v2["number"]

	alias := g.Call(t, http.MethodPut, base+"/aliases/candidate", map[string]any{"version": number}, http.StatusOK).JSON(t)
	g.Call(t, http.MethodPut, base+"/aliases/candidate", map[string]any{"version": 1, "etag": "stale"}, http.StatusConflict)
	g.Call(t, http.MethodPut, base+"/aliases/candidate", map[string]any{"version": number, "etag": alias["etag"]}, http.StatusOK)

	g.waitServed(t, g.ChatModel+"@candidate")
	a := g.ask(t, g.ChatModel+"@candidate", "")
	if got, want := a.Header.Get("x-poterne-model"), fmt.Sprintf("%s@v%v", g.ChatModel, number); got != want {
		t.Errorf("@candidate was served by %q, want %q", got, want)
	}

	arms := []any{
		map[string]any{"name": "control", "version": 1, "weight": 500000},
		map[string]any{"name": "candidate", "version": number, "weight": 500000},
	}
	g.Call(t, http.MethodPut, base+"/split", map[string]any{"arms": arms[:1]}, http.StatusBadRequest)
	split := g.Call(t, http.MethodPut, base+"/split", map[string]any{"arms": arms}, http.StatusOK).JSON(t)
	g.waitSplit(t)
	seen := map[string]int{}
	for user := range 12 {
		arm := ""
		for range 2 {
			got := g.ask(t, g.ChatModel, fmt.Sprintf("user-%d", user)).Header.Get("x-poterne-arm")
			if arm != "" && got != arm {
				t.Errorf("user-%d fell into %q, then into %q", user, arm, got)
			}
			arm = got
		}
		seen[arm]++
	}
	if seen["control"] == 0 || seen["candidate"] == 0 || len(seen) != 2 {
		t.Errorf("arms seen by 12 users: %v", seen)
	}
	g.Call(t, http.MethodDelete, base+"/split?etag="+fmt.Sprint(split["etag"]), nil, http.StatusOK)
	g.Call(t, http.MethodDelete, base+"/aliases/candidate?etag=*", nil, http.StatusOK)
}

func (g Target) ask(t *testing.T, model, user string) Answer {
	t.Helper()
	body := map[string]any{"model": model, "messages": User("Hi."), "max_tokens": 1}
	if user != "" {
		body["user"] = user
	}
	return g.Call(t, http.MethodPost, "/v1/chat/completions", body, http.StatusOK)
}

// waitSplit asks until every replica has heard of the split: ten answers in a row
// name an arm.
func (g Target) waitSplit(t *testing.T) {
	t.Helper()
	inRow := 0
	poll(t, func() error {
		if g.ask(t, g.ChatModel, "").Header.Get("x-poterne-arm") == "" {
			inRow = 0
		} else {
			inRow++
		}
		if inRow < 10 {
			return fmt.Errorf("%d answers in a row name an arm", inRow)
		}
		return nil
	})
}

// waitServed asks until the model is served: a version must be loaded first.
func (g Target) waitServed(t *testing.T, model string) {
	t.Helper()
	poll(t, func() error {
		a, err := g.Do(t.Context(), http.MethodGet, "/v1/models/"+model, g.AdminKey, nil)
		if err != nil {
			return err
		}
		if !strings.Contains(string(a.Body), `"state":"ready"`) {
			return fmt.Errorf("HTTP %d: %s", a.Status, a.Body)
		}
		return nil
	})
}
