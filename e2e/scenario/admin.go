package scenario

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/e2e/process"
)

// NewKey creates an API key and returns its text and its id.
func (g Target) NewKey(t *testing.T, body map[string]any) (key, id string) {
	t.Helper()
	v := g.Call(t, http.MethodPost, "/v1/admin/api-keys", body, http.StatusOK).JSON(t)
	key, _ = v["key"].(string)
	id, _ = Path(v, "api_key", "id").(string)
	if key == "" || id == "" {
		t.Fatalf("no key in %v", v)
	}
	return key, id
}

// Keys creates, uses, lists and revokes API keys, and meets the default policy.
func Keys(t *testing.T, g Target) {
	reader, id := g.NewKey(t, map[string]any{"name": "a reader", "roles": []string{"reader"}})
	g.CallAs(t, reader, http.MethodGet, "/v1/models", nil, http.StatusOK)
	refused := g.CallAs(t, reader, http.MethodPost, "/v1/admin/api-keys", map[string]any{"name": "x", "roles": []string{"admin"}}, http.StatusForbidden)
	if got := refused.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/problem+json") {
		t.Errorf("a refusal is %q", got)
	}
	g.CallAs(t, reader, http.MethodPost, "/v1/collections", map[string]any{"id": "mine"}, http.StatusForbidden)
	g.CallAs(t, reader, http.MethodPost, "/v1/registry/models", map[string]any{"name": "mine"}, http.StatusForbidden)

	list := g.Call(t, http.MethodGet, "/v1/admin/api-keys", nil, http.StatusOK)
	if !strings.Contains(string(list.Body), id) || strings.Contains(string(list.Body), reader) {
		t.Error("the list must name the key and not show it")
	}
	g.Call(t, http.MethodDelete, "/v1/admin/api-keys/"+id, nil, http.StatusOK)
	// Every edge must see a revocation within a second; a deployment has two.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	refusedInARow := 0
	err := process.Poll(ctx, func(ctx context.Context) error {
		a, err := g.Do(ctx, http.MethodGet, "/v1/models", reader, nil)
		if err != nil {
			return err
		}
		if a.Status != http.StatusUnauthorized {
			refusedInARow = 0
			return errStillTaken
		}
		if refusedInARow++; refusedInARow < 4 {
			return errStillTaken
		}
		return nil
	})
	if err != nil {
		t.Errorf("the revoked key: %v", err)
	}
}

// Audit finds a refusal and an answer in the audit trail by request id.
func Audit(t *testing.T, g Target) {
	reader, _ := g.NewKey(t, map[string]any{"name": "audited", "roles": []string{"reader"}, "subject": "audited-" + suffix(t)})
	refused := g.CallAs(t, reader, http.MethodGet, "/v1/admin/api-keys", nil, http.StatusForbidden)
	served := g.Call(t, http.MethodPost, "/v1/chat/completions", map[string]any{"model": g.ChatModel, "messages": User("Hi."), "max_tokens": 2}, http.StatusOK)
	for _, want := range []struct {
		id, decision, reason string
		tokens               bool
	}{{refused.Header.Get("x-request-id"), "refused", "PERMISSION_DENIED", false}, {served.Header.Get("x-request-id"), "allowed", "", true}} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var record any
		err := process.Poll(ctx, func(ctx context.Context) error {
			a, err := g.Do(ctx, http.MethodGet, "/v1/admin/audit?request_id="+want.id, g.AdminKey, nil)
			if err != nil {
				return err
			}
			record = Path(a.JSON(t), "records", 0)
			if record == nil {
				return errNotThere
			}
			return nil
		})
		cancel()
		if err != nil {
			t.Errorf("no audit record of %s: %v", want.id, err)
			continue
		}
		reason, _ := Path(record, "error_reason").(string)
		if Path(record, "decision") != want.decision || reason != want.reason {
			t.Errorf("audit record %v, want %s %s", record, want.decision, want.reason)
		}
		if tokens, _ := Path(record, "completion_tokens").(float64); want.tokens && tokens <= 0 {
			t.Errorf("the record of an answer tells no tokens: %v", record)
		}
	}
}

// suffix keeps names of one run apart from those of another.
func suffix(testing.TB) string { return strings.ToLower(rand.Text()[:10]) }

type scenarioError string

func (e scenarioError) Error() string { return string(e) }

const (
	errStillTaken = scenarioError("it is still taken")
	errNotThere   = scenarioError("it is not there")
)
