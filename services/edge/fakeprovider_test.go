package edge_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/jose"
)

// fakeProvider is an OpenID provider of which every part can be made wrong.
type fakeProvider struct {
	*httptest.Server

	t   *testing.T
	key *jose.Signer

	mu     sync.Mutex
	codes  map[string]url.Values // what was asked for, by the code that is not used yet
	asked  []url.Values          // of the token endpoint
	claims map[string]any        // changes; nil takes a claim away
	// configuration changes what the provider says of itself.
	configuration map[string]any
	// signer signs instead of key, as typ.
	signer *jose.Signer
	typ    string
	// token answers instead of the token endpoint.
	token http.HandlerFunc
	// mangle changes the ID token.
	mangle func(token string) string
	secret string
}

func newFakeProvider(t *testing.T) *fakeProvider {
	t.Helper()
	p := &fakeProvider{
		t: t, key: newSigner(t, "one"), codes: make(map[string]url.Values), claims: make(map[string]any),
		configuration: make(map[string]any), typ: "JWT", secret: "hunter2 & co",
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.serveConfiguration)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		text, err := jose.PublicSet(p.key)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	})
	mux.HandleFunc("POST /token", p.serveToken)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func newSigner(t *testing.T, id string) *jose.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(id, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *fakeProvider) change(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

func (p *fakeProvider) serveConfiguration(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := map[string]any{
		"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/authorize?tenant=x",
		"token_endpoint": p.URL + "/token", "end_session_endpoint": p.URL + "/end", "code_challenge_methods_supported": []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	maps.Copy(c, p.configuration)
	_ = json.NewEncoder(w).Encode(c)
}

// consent is what the provider answers to an authorisation request once the person
// has agreed: the address that the browser goes back to.
func (p *fakeProvider) consent(request string) *url.URL {
	p.t.Helper()
	u, err := url.Parse(request)
	if err != nil {
		p.t.Fatal(err)
	}
	q := u.Query()
	p.mu.Lock()
	defer p.mu.Unlock()
	code := "code-" + strconv.Itoa(len(p.codes))
	p.codes[code] = q
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		p.t.Fatal(err)
	}
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.URL}}.Encode()
	return back
}

func (p *fakeProvider) serveToken(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.token != nil {
		p.token(w, r)
		return
	}
	_ = r.ParseForm()
	p.asked = append(p.asked, r.PostForm)
	w.Header().Set("Content-Type", "application/json")
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"error":"` + code + `"}`))
	}
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	if id != "edge" || secret != p.secret {
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	}
	asked, ok := p.codes[r.PostForm.Get("code")]
	delete(p.codes, r.PostForm.Get("code"))
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if !ok || r.PostForm.Get("redirect_uri") != asked.Get("redirect_uri") || asked.Get("code_challenge_method") != "S256" ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") {
		refuse(http.StatusBadRequest, "invalid_grant")
		return
	}
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": p.URL, "aud": "edge", "exp": now + 300, "iat": now, "sub": "ana", "nonce": asked.Get("nonce"), "at_hash": jose.ES256.HalfHash("access"),
		"tenant": "acme", "roles": []string{"developer"}, "groups": []string{"research"},
	}
	for k, v := range p.claims {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	by := p.key
	if p.signer != nil {
		by = p.signer
	}
	token, err := by.Sign(p.typ, claims)
	if err != nil {
		p.t.Error(err)
	}
	if p.mangle != nil {
		token = p.mangle(token)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"id_token": token, "access_token": "access", "token_type": "Bearer"})
}
