package scenario

import (
	"net/http"
	"testing"
)

// contextOf answers from passages or not at all, and remembers a conversation.
func (g Target) contextOf(t *testing.T, c string) {
	const path = "/v1/chat/completions"
	ask := map[string]any{
		"model": g.ChatModel, "messages": User("How many days of paid leave are there?"), "max_tokens": 24,
		"retrieval": map[string]any{"collection": c, "top_k": 2, "require_passages": true, "min_similarity": 0.5},
	}
	found := g.Call(t, http.MethodPost, path, ask, http.StatusOK).JSON(t)
	if Path(found, "choices", 0, "message", "annotations", 0, "document_id") == nil || Path(found, "usage", "completion_tokens") == 0.0 {
		t.Errorf("what is near enough is not found: %v", found)
	}
	if _, told := Path(found, "choices", 0, "message", "annotations", 0, "cited").(bool); !told {
		t.Errorf("whether it is cited is not told: %v", found)
	}
	ask["retrieval"] = map[string]any{"collection": c, "require_passages": true, "min_similarity": 0.9999}
	none := g.Call(t, http.MethodPost, path, ask, http.StatusOK).JSON(t)
	if Path(none, "choices", 0, "finish_reason") != "stop" || Path(none, "usage", "total_tokens") != 0.0 || Path(none, "choices", 0, "message", "annotations") != nil {
		t.Errorf("an answer from nothing: %v", none)
	}
	g.conversation(t, "talk-"+c)
}

func (g Target) conversation(t *testing.T, id string) {
	t.Helper()
	say := func(text string) (prompt float64) {
		v := g.Call(t, http.MethodPost, "/v1/chat/completions", map[string]any{
			"model": g.ChatModel, "messages": User(text), "max_tokens": 16, "memory": map[string]any{"conversation": id},
		}, http.StatusOK).JSON(t)
		prompt, _ = Path(v, "usage", "prompt_tokens").(float64)
		return prompt
	}
	first := say("My name is Ada and I live in Lyon.")
	if second := say("Where do I live?"); second <= first {
		t.Errorf("the second turn has %v tokens, the first %v: it remembers nothing", second, first)
	}
	v := g.Call(t, http.MethodGet, "/v1/conversations/"+id, nil, http.StatusOK).JSON(t)
	if Path(v, "turns", 0, "messages", 0, "content") != "My name is Ada and I live in Lyon." || Path(v, "turns", 1, "messages", 1, "role") != "assistant" {
		t.Errorf("the conversation is %v", v)
	}
	stranger, _ := g.NewKey(t, map[string]any{"name": "stranger", "subject": "stranger", "roles": []string{"reader"}})
	g.CallAs(t, stranger, http.MethodGet, "/v1/conversations/"+id, nil, http.StatusNotFound)
}

// Conversation begins one, for whoever looks whether it outlives a process.
func Conversation(t *testing.T, g Target, id string) { g.conversation(t, id) }
