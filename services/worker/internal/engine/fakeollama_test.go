package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// fakeOllama answers as Ollama's server does: docs/api.md and the OpenAI calls,
// which know max_tokens only.
type fakeOllama struct {
	fakeAnswers

	mu      sync.Mutex
	library map[string]bool            // what can be pulled
	models  map[string]map[string]any  // as they were created; nil when pulled
	blobs   map[string]bool            // by digest
	loaded  map[string]json.RawMessage // with their keep_alive
	calls   []string                   // of /api, without those that only ask
	broken  string                     // what /api/create fails with
}

func newFakeOllama(context int, library ...string) *fakeOllama {
	f := &fakeOllama{
		library: make(map[string]bool), models: make(map[string]map[string]any), blobs: make(map[string]bool),
		loaded: make(map[string]json.RawMessage),
	}
	for _, name := range library {
		f.library[name] = true
	}
	f.context = context
	f.fail = func(w http.ResponseWriter, code int, kind, message, _ string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":{"message":%q,"type":%q,"param":null,"code":null}}`, message, kind)
	}
	f.limit = func(r *fakeRequest) *int { return r.MaxTokens }
	return f
}

func (f *fakeOllama) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/blobs/") {
		f.blob(w, r)
		return
	}
	switch r.URL.Path {
	case "/api/version":
		fmt.Fprint(w, `{"version":"0.24.0"}`)
	case "/v1/chat/completions", "/v1/completions":
		f.generate(w, r)
	case "/api/ps":
		f.ps(w)
	case "/api/show", "/api/pull", "/api/create", "/api/generate", "/api/embed":
		f.api(w, r)
	default:
		http.NotFound(w, r)
	}
}

type ollamaCall struct {
	Model      string            `json:"model"`
	From       string            `json:"from"`
	Files      map[string]string `json:"files"`
	Parameters map[string]any    `json:"parameters"`
	KeepAlive  json.RawMessage   `json:"keep_alive"`
	Stream     *bool             `json:"stream"`
}

func (f *fakeOllama) api(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	refuse := func(code int, text string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"error":%q}`, text)
	}
	var c ollamaCall
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		refuse(http.StatusBadRequest, err.Error())
		return
	}
	if r.URL.Path != "/api/show" {
		f.calls = append(f.calls, strings.TrimPrefix(r.URL.Path, "/api/")+" "+c.Model)
		if c.Stream == nil || *c.Stream {
			refuse(http.StatusTeapot, "the test reads no streams")
			return
		}
	}
	_, have := f.models[c.Model]
	switch {
	case r.URL.Path == "/api/pull" && !f.library[c.Model]:
		refuse(http.StatusInternalServerError, "pull model manifest: file does not exist")
	case r.URL.Path == "/api/pull":
		f.models[c.Model] = nil
		fmt.Fprint(w, `{"status":"success"}`)
	case r.URL.Path == "/api/create":
		f.create(w, c, refuse)
	case !have:
		refuse(http.StatusNotFound, fmt.Sprintf("model '%s' not found", c.Model))
	case r.URL.Path == "/api/show":
		fmt.Fprintf(w, `{"details":{"format":"gguf"},"model_info":{"general.architecture":"llama","llama.context_length":131072,"llama.embedding_length":2048,"tokenizer.ggml.merges":null},"capabilities":["completion"]}`)
	default:
		f.loaded[c.Model] = c.KeepAlive
		fmt.Fprint(w, `{"done":true,"done_reason":"load"}`)
	}
}

func (f *fakeOllama) create(w http.ResponseWriter, c ollamaCall, refuse func(int, string)) {
	if f.broken != "" {
		refuse(http.StatusInternalServerError, f.broken)
		return
	}
	for _, digest := range c.Files {
		if !f.blobs[digest] {
			refuse(http.StatusBadRequest, "blob not found")
			return
		}
	}
	if _, have := f.models[c.From]; c.From != "" && !have || c.From == "" && len(c.Files) == 0 {
		refuse(http.StatusBadRequest, "neither 'from' or 'files' was specified")
		return
	}
	f.models[c.Model] = map[string]any{"from": c.From, "files": slices.Sorted(maps.Keys(c.Files)), "parameters": c.Parameters}
	fmt.Fprint(w, `{"status":"success"}`)
}

func (f *fakeOllama) blob(w http.ResponseWriter, r *http.Request) {
	digest := strings.TrimPrefix(r.URL.Path, "/api/blobs/")
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	sum := sha256.Sum256(body)
	switch {
	case r.Method == http.MethodHead && !f.blobs[digest]:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodHead:
	case "sha256:"+hex.EncodeToString(sum[:]) != digest:
		w.WriteHeader(http.StatusBadRequest)
	default:
		f.calls = append(f.calls, "blob")
		f.blobs[digest] = true
		w.WriteHeader(http.StatusCreated)
	}
}

func (f *fakeOllama) ps(w http.ResponseWriter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(f.loaded)) {
		list = append(list, map[string]any{
			"name": name + ":latest", "model": name + ":latest", "size": 5137025024, "size_vram": 0, "context_length": f.context,
		})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"models": list})
}

func (f *fakeOllama) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}
