package fetch

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// fakeHub is a server with Hugging Face's layout: small files are answered,
// large ones lie in a store behind a redirect.
type fakeHub struct {
	*testing.T
	token string
	small map[string][]byte // by path of repository, revision and file
	large map[string][]byte
	store string
}

func (s *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.token != "" && r.Header.Get("Authorization") != "Bearer "+s.token {
		http.Error(w, "gated", http.StatusUnauthorized)
		return
	}
	w.Header().Set("X-Repo-Commit", strings.Repeat("a", 40))
	if data, ok := s.small[r.URL.Path]; ok {
		w.Header().Set("X-Linked-Etag", `"5d41402abc4b2a76b9719d911017c592abcdef12"`) // a git blob's hash
		file(data)(w, r)
		return
	}
	data, ok := s.large[r.URL.Path]
	if !ok {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+sum(data)+`"`)
	w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
	http.Redirect(w, r, s.store+r.URL.Path+"?Signature=s1g", http.StatusFound)
}

func TestHub(t *testing.T) {
	weights, sha := payload(50_000)
	config := []byte(`{"hidden_size":8}`)
	var seen seenHeaders
	s := &fakeHub{
		T: t, token: "hf_s3cret",
		small: map[string][]byte{"/org/tiny/resolve/main/config.json": config, "/org/tiny/resolve/v1/1_Pooling/config.json": config},
		large: map[string][]byte{"/org/tiny/resolve/main/tiny.gguf": weights},
	}
	store := serve(t, seen.note(func(w http.ResponseWriter, r *http.Request) { file(s.large[r.URL.Path])(w, r) }))
	s.store = store.String()
	u := serve(t, s.ServeHTTP)
	cfg := testConfig("hf://org")
	cfg.HuggingFace = Hub{Endpoint: u.String(), Token: "hf_s3cret", RedirectHosts: []string{store.Host}}
	f := New(cfg, realClock())
	checkGet(t, f, "hf://org/tiny/tiny.gguf", weights)
	checkGet(t, f, "hf://org/tiny/config.json", config)
	checkGet(t, f, "hf://org/tiny@v1/1_Pooling/config.json", config)
	if strings.Trim(seen.all(), "|") != "" {
		t.Errorf("the store was shown %q", seen.all())
	}
	asked := len(seen.all())
	_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, "hf://org/tiny/tiny.gguf"), SHA256: strings.Repeat("0", 64)})
	wantError(t, err, Permanent, "has the SHA-256 "+sha)
	if len(seen.all()) != asked {
		t.Error("a file that the hub says is another was asked for")
	}
	_, _, err = get(t.Context(), f, Request{Ref: mustParse(t, "hf://org/tiny/none"), SHA256: sha})
	wantError(t, err, Permanent, "404")
	cfg.HuggingFace.Token = "hf_wr0ng"
	_, _, err = get(t.Context(), New(cfg, realClock()), Request{Ref: mustParse(t, "hf://org/tiny/tiny.gguf"), SHA256: sha})
	wantError(t, err, Permanent, "401", "hf_wr0ng")
	cfg.HuggingFace.Token, cfg.HuggingFace.RedirectHosts = "hf_s3cret", nil
	_, _, err = get(t.Context(), New(cfg, realClock()), Request{Ref: mustParse(t, "hf://org/tiny/tiny.gguf"), SHA256: sha})
	wantError(t, err, Permanent, "redirects to "+store.Host, "s1g", "hf_s3cret")
}
