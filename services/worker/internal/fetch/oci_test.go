package fetch

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// fakeRegistry is a registry as the distribution specification says, with
// tokens from a server of its own or without.
type fakeRegistry struct {
	*testing.T
	mu        sync.Mutex
	manifests map[string][]byte // by tag and digest
	blobs     map[string][]byte // by digest
	user      string            // user:password, or nobody is asked
	realm     string
	issued    map[string]bool
	tokens    int
	redirect  string // where blobs are sent on to
	challenge string
	scopes    []string
}

func (s *fakeRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/token" {
		s.token(w, r)
		return
	}
	if s.user != "" && !s.issued[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		w.Header().Set("WWW-Authenticate", s.challenge)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/v2/team/tiny/")
	kind, name, _ := strings.Cut(rest, "/")
	switch {
	case ok && kind == "manifests" && s.manifests[name] != nil:
		if !strings.Contains(r.Header.Get("Accept"), "application/vnd.oci.image.manifest.v1+json") {
			s.Errorf("accepts %q", r.Header.Get("Accept"))
		}
		_, _ = w.Write(s.manifests[name])
	case ok && kind == "blobs" && s.blobs[name] != nil && s.redirect != "":
		http.Redirect(w, r, s.redirect, http.StatusTemporaryRedirect)
	case ok && kind == "blobs" && s.blobs[name] != nil:
		file(s.blobs[name])(w, r)
	default:
		http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`, http.StatusNotFound)
	}
}

func (s *fakeRegistry) token(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if user+":"+password != s.user {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.scopes = append(s.scopes, r.URL.Query().Get("service")+" "+r.URL.Query().Get("scope"))
	s.tokens++
	token := fmt.Sprintf("t0ken%d", s.tokens)
	s.issued[token] = true
	_, _ = fmt.Fprintf(w, `{"token":%q,"expires_in":120}`, token)
}

type layerSpec struct {
	data        []byte
	mediaType   string
	annotations map[string]string
}

// push puts a manifest with layers under a tag, and returns its digest.
func (s *fakeRegistry) push(tag string, layers ...layerSpec) string {
	var m manifest
	for _, l := range layers {
		digest := "sha256:" + sum(l.data)
		s.blobs[digest] = l.data
		m.Layers = append(m.Layers, layer{MediaType: l.mediaType, Digest: digest, Size: int64(len(l.data)), Annotations: l.annotations})
	}
	return s.put(tag, m)
}

func (s *fakeRegistry) put(tag string, m any) string {
	data, err := json.Marshal(m)
	if err != nil {
		s.Fatal(err)
	}
	digest := "sha256:" + sum(data)
	s.manifests[tag], s.manifests[digest] = data, data
	return digest
}

func newRegistry(t *testing.T) (*fakeRegistry, string) {
	t.Helper()
	s := &fakeRegistry{T: t, manifests: make(map[string][]byte), blobs: make(map[string][]byte), issued: make(map[string]bool)}
	u := serve(t, s.ServeHTTP)
	s.realm = u.String() + "/token"
	s.challenge = `Bearer realm="` + s.realm + `",service="registry.test",scope="repository:other:push"`
	return s, u.Host
}

func TestOCI(t *testing.T) {
	weights, sha := payload(50_000)
	config := []byte(`{"architecture":"tiny"}`)
	s, host := newRegistry(t)
	title := func(s string) map[string]string { return map[string]string{"org.opencontainers.image.title": s} }
	digest := s.push("oras", layerSpec{config, "application/json", title("config.json")}, layerSpec{weights, "application/octet-stream", title("tiny.gguf")})
	s.push("latest", layerSpec{weights, "application/vnd.ollama.image.model", nil}, layerSpec{config, "application/vnd.ollama.image.params", nil})
	s.push("modelpack", layerSpec{weights, "application/vnd.cncf.model.weight.v1.raw", map[string]string{"org.cncf.model.filepath": "w/tiny.gguf"}})
	s.push("tarred", layerSpec{weights, "application/vnd.cncf.model.weight.v1.tar", nil})
	s.put("index", manifest{Manifests: []layer{{Digest: s.push("other", layerSpec{config, "x", nil})}, {Digest: digest}}})
	f := New(testConfig("oci://"+host+"/team"), realClock())
	base := "oci://" + host + "/team/tiny"
	for _, ref := range []string{
		":oras", "@" + digest, ":oras#tiny.gguf", "#application/vnd.ollama.image.model", "", ":modelpack", ":modelpack#w/tiny.gguf", ":index",
	} {
		checkGet(t, f, base+ref, weights)
	}
	for ref, text := range map[string]string{
		":oras#config.json": "the layer config.json has the digest sha256:" + sum(config),
		":oras#x":           "no layer is titled, or has the media type, x; there are: config.json application/json, tiny.gguf",
		":other":            "no layer has the digest",
		":tarred":           "is an archive",
		":none":             "404",
	} {
		_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, base+ref), SHA256: sha})
		wantError(t, err, Permanent, text)
	}
	s.manifests[digest] = append(s.manifests[digest], ' ')
	_, _, err := get(t.Context(), f, Request{Ref: mustParse(t, base+"@"+digest), SHA256: sha})
	wantError(t, err, Permanent, "does not have the digest")
}

func TestOCITokens(t *testing.T) {
	weights, sha := payload(1000)
	s, host := newRegistry(t)
	s.push("latest", layerSpec{weights, "x", nil})
	s.user = "bob:s3cret"
	cfg := testConfig("oci://" + host)
	cfg.OCI = map[string]Registry{host: {Username: "bob", Password: "s3cret"}}
	fake := clock.NewFake(time.Unix(1_800_000_000, 0))
	f := New(cfg, fake)
	uri := "oci://" + host + "/team/tiny"
	checkGet(t, f, uri, weights)
	if s.tokens != 1 || s.scopes[0] != "registry.test repository:team/tiny:pull" {
		t.Errorf("%d tokens for %q", s.tokens, s.scopes)
	}
	fake.Advance(3 * time.Minute)
	checkGet(t, f, uri, weights)
	if s.tokens != 2 {
		t.Errorf("%d tokens after the first expired", s.tokens)
	}
	s.issued = make(map[string]bool) // revoked before they expire
	checkGet(t, f, uri, weights)
	cfg.OCI = map[string]Registry{host: {Username: "bob", Password: "wr0ng"}}
	_, _, err := get(t.Context(), New(cfg, fake), Request{Ref: mustParse(t, uri), SHA256: sha})
	wantError(t, err, Permanent, "401", "wr0ng")
	s.challenge = `Digest realm="x"`
	_, _, err = get(t.Context(), New(cfg, fake), Request{Ref: mustParse(t, uri), SHA256: sha})
	wantError(t, err, Permanent, "not known")
}

// A registry that names a server of its choice gets neither the password there
// nor a request.
func TestOCITokensFromElsewhere(t *testing.T) {
	weights, sha := payload(1000)
	s, host := newRegistry(t)
	s.push("latest", layerSpec{weights, "x", nil})
	s.user = "bob:s3cret"
	var seen seenHeaders
	elsewhere := serve(t, seen.note(s.ServeHTTP))
	s.challenge = `Bearer realm="` + elsewhere.String() + `/token"`
	cfg := testConfig("oci://" + host)
	cfg.OCI = map[string]Registry{host: {Username: "bob", Password: "s3cret"}}
	r := Request{Ref: mustParse(t, "oci://"+host+"/team/tiny"), SHA256: sha}
	_, _, err := get(t.Context(), New(cfg, realClock()), r)
	wantError(t, err, Permanent, "names "+elsewhere.Host, "s3cret")
	if seen.all() != "" {
		t.Errorf("it was asked with %q", seen.all())
	}
	cfg.RedirectHosts = []string{elsewhere.Host}
	_, _, err = get(t.Context(), New(cfg, realClock()), r)
	wantError(t, err, Permanent, "401", "s3cret")
	if strings.Contains(seen.all(), "Basic") {
		t.Errorf("it was shown %q", seen.all())
	}
	cfg.RedirectHosts = nil
	cfg.OCI = map[string]Registry{host: {Username: "bob", Password: "s3cret", AuthHost: elsewhere.Host}}
	checkGet(t, New(cfg, realClock()), r.Ref.String(), weights)
}

// Blobs may lie in a store that the registry sends on to; the token stays.
func TestOCIRedirect(t *testing.T) {
	weights, sha := payload(1000)
	var seen seenHeaders
	store := serve(t, seen.note(file(weights)))
	s, host := newRegistry(t)
	s.push("latest", layerSpec{weights, "x", nil})
	s.user, s.redirect = "bob:s3cret", store.String()+"/blob?sig=s1g"
	cfg := testConfig("oci://" + host)
	cfg.OCI = map[string]Registry{host: {Username: "bob", Password: "s3cret"}}
	r := Request{Ref: mustParse(t, "oci://"+host+"/team/tiny"), SHA256: sha}
	_, _, err := get(t.Context(), New(cfg, realClock()), r)
	wantError(t, err, Permanent, "does not allow", "s1g")
	cfg.RedirectHosts = []string{store.Host}
	checkGet(t, New(cfg, realClock()), r.Ref.String(), weights)
	if strings.Trim(seen.all(), "|") != "" {
		t.Errorf("the store was shown %q", seen.all())
	}
}

func TestOCIPlainHTTP(t *testing.T) {
	f := newOCIFetcher(nil, map[string]Registry{"plain.test": {PlainHTTP: true}}, realClock())
	for host, want := range map[string]string{"127.0.0.1:5000": "http", "localhost:5000": "http", "plain.test": "http", "r.example.com": "https"} {
		if got := f.url(Ref{Host: host}, "blobs", "x").Scheme; got != want {
			t.Errorf("%s: %s", host, got)
		}
	}
}

func TestOCIManifestThatIsTooLarge(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"layers":[` + strings.Repeat(" ", maxManifest) + `]}`))
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	_, _, err := get(t.Context(), New(testConfig("oci://"+host), realClock()), Request{Ref: mustParse(t, "oci://"+host+"/a"), SHA256: strings.Repeat("0", 64)})
	wantError(t, err, Permanent, "more than 4194304 bytes")
}

func TestOCIManifestThatStalls(t *testing.T) {
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(`{"layers":[`))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	cfg := testConfig("oci://" + u.Host)
	cfg.HeaderTimeout = 100 * time.Millisecond
	_, _, err := get(t.Context(), New(cfg, realClock()), Request{Ref: mustParse(t, "oci://"+u.Host+"/a"), SHA256: strings.Repeat("0", 64)})
	wantError(t, err, Temporary, "was cut")
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"layers":[{"mediaType":"a","digest":"sha256:`+strings.Repeat("0", 64)+`","size":-1,"annotations":{"org.opencontainers.image.title":"x"}}]}`), "x")
	f.Add([]byte(`{"manifests":[{"digest":"sha256:`+strings.Repeat("0", 64)+`"}]}`), "")
	f.Add([]byte(`{"blobs":[{}]}`), "application/x")
	f.Fuzz(func(t *testing.T, data []byte, title string) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		want := strings.Repeat("0", 64)
		l, err := m.find(Request{SHA256: want, Ref: Ref{Path: title}})
		if err == nil && (l.Digest != "sha256:"+want || l.Size < 0) {
			t.Errorf("found %+v", l)
		}
		if err != nil && strings.ContainsFunc(strings.ReplaceAll(err.Error(), title, ""), func(r rune) bool { return r < ' ' }) {
			t.Errorf("control characters in %q", err)
		}
	})
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Bearer realm="https://a/token",service="s",scope="x,y"`)
	f.Add(`Basic realm=x, charset="UTF-8`)
	f.Add(`Bearer =,=,"`)
	f.Fuzz(func(t *testing.T, s string) {
		scheme, params := parseChallenge(s)
		if strings.ToLower(scheme) != scheme || len(params) > 4096 {
			t.Errorf("%q, %d parameters", scheme, len(params))
		}
	})
}

func TestParseChallenge(t *testing.T) {
	scheme, p := parseChallenge(`bearer Realm="https://a.test/t?x=1,2", service=s , scope="repository:a:pull,push",error="x"`)
	if scheme != "bearer" || p["realm"] != "https://a.test/t?x=1,2" || p["service"] != "s" || p["scope"] != "repository:a:pull,push" || p["error"] != "x" {
		t.Errorf("%q, %v", scheme, p)
	}
}
