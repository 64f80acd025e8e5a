package ollama

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
)

func TestBaseURL(t *testing.T) {
	for host, want := range map[string]string{
		"":                          "http://127.0.0.1:11434/v1",
		"0.0.0.0":                   "http://127.0.0.1:11434/v1",
		"gpu.example:9999":          "http://gpu.example:9999/v1",
		"https://gpu.example:9999/": "https://gpu.example:9999/v1",
	} {
		if got := BaseURL(host); got != want {
			t.Errorf("BaseURL(%q) = %q, want %q", host, got, want)
		}
	}
}

func TestModels(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/models" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(`{"object":"list","data":[{"id":"llama3.2:1b"},{"id":"nomic-embed-text:latest"},{"id":"Hub/Qwen:latest"},{"id":":::"}]}`))
	}))
	defer server.Close()
	got, err := Models(t.Context(), server.URL+"/v1")
	want := []Model{{"llama3.2:1b", "llama3.2-1b", false}, {"nomic-embed-text:latest", "nomic-embed-text", true}, {"Hub/Qwen:latest", "hub-qwen", false}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("models %+v, %v", got, err)
	}
	server.Close()
	if _, err := Models(t.Context(), server.URL+"/v1"); err == nil {
		t.Error("a server that is gone has models")
	}
}
