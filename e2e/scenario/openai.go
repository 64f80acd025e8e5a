package scenario

import (
	"encoding/base64"
	"math"
	"net/http"
	"strings"
	"testing"
)

// OpenAI runs chat, stream, completion, embeddings and models.
func OpenAI(t *testing.T, g Target) {
	t.Run("chat", g.chat)
	t.Run("stream", g.stream)
	t.Run("content as parts, stop as a list", g.otherForms)
	t.Run("completion", g.completion)
	t.Run("embeddings", g.embeddings)
	t.Run("models", g.models)
}

func (g Target) chat(t *testing.T) {
	a := g.Call(t, http.MethodPost, "/v1/chat/completions", map[string]any{
		"model": g.ChatModel, "messages": User("Say hello."), "max_tokens": 16, "temperature": 0, "seed": 1,
	}, http.StatusOK)
	v := a.JSON(t)
	if content, _ := Path(v, "choices", 0, "message", "content").(string); strings.TrimSpace(content) == "" {
		t.Errorf("no content: %s", a.Body)
	}
	if v["object"] != "chat.completion" || v["model"] != g.ChatModel {
		t.Errorf("object %v, model %v", v["object"], v["model"])
	}
	prompt, _ := Path(v, "usage", "prompt_tokens").(float64)
	completion, _ := Path(v, "usage", "completion_tokens").(float64)
	total, _ := Path(v, "usage", "total_tokens").(float64)
	if prompt <= 0 || completion <= 0 || completion > 16 || total != prompt+completion {
		t.Errorf("usage does not add up: %v", v["usage"])
	}
	for _, name := range []string{"x-request-id", "x-poterne-cache", "RateLimit", "RateLimit-Policy", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"} {
		if a.Header.Get(name) == "" {
			t.Errorf("header %s is missing", name)
		}
	}
	if got := a.Header.Get("x-poterne-model"); !strings.HasPrefix(got, g.ChatModel+"@v") {
		t.Errorf("x-poterne-model is %q", got)
	}
}

func (g Target) stream(t *testing.T) {
	ask := map[string]any{
		"model": g.ChatModel, "messages": User("Count to five."), "max_tokens": 24, "temperature": 0,
		"stream": true, "stream_options": map[string]any{"include_usage": true},
	}
	s := g.Stream(t.Context(), "/v1/chat/completions", g.AdminKey, ask, nil)
	text, err := s.Text()
	if err != nil || !s.Done || s.Error != "" || s.Broken != nil {
		t.Fatalf("the stream did not end well: %v %+v", err, s)
	}
	if strings.TrimSpace(text) == "" || len(s.Chunks) < 3 {
		t.Errorf("%d chunks, text %q", len(s.Chunks), text)
	}
	if !strings.HasPrefix(s.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("content type %q", s.Header.Get("Content-Type"))
	}
	if got := s.Header.Get("x-poterne-model"); !strings.HasPrefix(got, g.ChatModel+"@v") {
		t.Errorf("x-poterne-model is %q", got)
	}
	if last := s.Chunks[len(s.Chunks)-1]; !strings.Contains(last, `"completion_tokens"`) {
		t.Errorf("the last chunk tells no usage: %s", last)
	}
	delete(ask, "stream_options")
	s = g.Stream(t.Context(), "/v1/chat/completions", g.AdminKey, ask, nil)
	for _, c := range s.Chunks {
		if strings.Contains(c, `"completion_tokens"`) {
			t.Errorf("usage that nobody asked for: %s", c)
		}
	}
}

func (g Target) otherForms(t *testing.T) {
	g.Call(t, http.MethodPost, "/v1/chat/completions", map[string]any{
		"model": g.ChatModel, "max_completion_tokens": 4, "stop": []string{"###", "END"},
		"messages": []any{
			map[string]any{"role": "system", "content": "Be brief."},
			map[string]any{"role": "user", "content": []any{map[string]any{"type": "text", "text": "Hi."}}},
		},
		"tool_choice": "none", "an_engine_parameter": map[string]any{"nested": []int{1, 2}},
	}, http.StatusOK)
}

func (g Target) completion(t *testing.T) {
	a := g.Call(t, http.MethodPost, "/v1/completions", map[string]any{"model": g.ChatModel, "prompt": "The capital of France is", "max_tokens": 4}, http.StatusOK)
	if text, _ := Path(a.JSON(t), "choices", 0, "text").(string); text == "" {
		t.Errorf("no text: %s", a.Body)
	}
	s := g.Stream(t.Context(), "/v1/completions", g.AdminKey, map[string]any{"model": g.ChatModel, "prompt": "One, two,", "max_tokens": 4, "stream": true}, nil)
	if !s.Done || len(s.Chunks) == 0 {
		t.Errorf("stream: %+v", s)
	}
}

func (g Target) embeddings(t *testing.T) {
	input := []string{"a gate in a wall", "une porte dans un mur", "prices of wheat"}
	ask := map[string]any{"model": g.EmbeddingModel, "input": input}
	v := g.Call(t, http.MethodPost, "/v1/embeddings", ask, http.StatusOK).JSON(t)
	vectors := make([][]float64, len(input))
	for i := range input {
		list, _ := Path(v, "data", i, "embedding").([]any)
		for _, x := range list {
			component, _ := x.(float64)
			vectors[i] = append(vectors[i], component)
		}
		if len(vectors[i]) != g.Dimensions {
			t.Fatalf("vector %d has %d components, want %d", i, len(vectors[i]), g.Dimensions)
		}
	}
	if tokens, _ := Path(v, "usage", "prompt_tokens").(float64); tokens <= 0 {
		t.Errorf("usage %v", v["usage"])
	}
	ask["encoding_format"] = "base64"
	v = g.Call(t, http.MethodPost, "/v1/embeddings", ask, http.StatusOK).JSON(t)
	text, _ := Path(v, "data", 1, "embedding").(string)
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != 4*g.Dimensions {
		t.Fatalf("base64: %v, %d bytes", err, len(raw))
	}
	for i := range g.Dimensions {
		bits := uint32(raw[4*i]) | uint32(raw[4*i+1])<<8 | uint32(raw[4*i+2])<<16 | uint32(raw[4*i+3])<<24
		if got := float64(math.Float32frombits(bits)); math.Abs(got-vectors[1][i]) > 1e-3 {
			t.Fatalf("component %d: base64 says %g, float says %g", i, got, vectors[1][i])
		}
	}
	a := g.Call(t, http.MethodPost, "/v1/embeddings", map[string]any{"model": g.EmbeddingModel, "input": "one text"}, http.StatusOK)
	if list, _ := Path(a.JSON(t), "data").([]any); len(list) != 1 {
		t.Errorf("one text: %d vectors", len(list))
	}
}

func (g Target) models(t *testing.T) {
	v := g.Call(t, http.MethodGet, "/v1/models", nil, http.StatusOK).JSON(t)
	states := map[any]any{}
	list, _ := v["data"].([]any)
	for _, m := range list {
		states[Path(m, "id")] = Path(m, "state")
	}
	for _, name := range []string{g.ChatModel, g.EmbeddingModel} {
		if states[name] != "ready" {
			t.Errorf("model %s is %v, want ready", name, states[name])
		}
	}
	one := g.Call(t, http.MethodGet, "/v1/models/"+g.ChatModel, nil, http.StatusOK).JSON(t)
	if one["id"] != g.ChatModel || one["object"] != "model" {
		t.Errorf("model: %v", one)
	}
	g.Call(t, http.MethodGet, "/v1/models/"+g.ChatModel+"@v1", nil, http.StatusOK)
}
