package oidc

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

func start() time.Time { return time.Unix(1_800_000_000, 0) }

// provider is an issuer over HTTP.
type provider struct {
	*httptest.Server

	mu      sync.Mutex
	keys    map[string]*jose.Signer // that it publishes
	fetches atomic.Int64            // of its keys
	answer  http.HandlerFunc        // instead of its keys, if set
	issuer  string                  // that its configuration names; empty: itself
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{keys: make(map[string]*jose.Signer)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		name := p.URL
		if p.issuer != "" {
			name = p.issuer
		}
		_, _ = w.Write([]byte(`{"issuer":"` + name + `","jwks_uri":"` + p.URL + `/keys","more":{}}`))
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.answer != nil {
			p.answer(w, r)
			return
		}
		text, err := jose.PublicSet(slices.Collect(maps.Values(p.keys))...)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) change(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
}

// rotate publishes a new key under the name, and no other unless keep.
func (p *provider) rotate(t *testing.T, id string, keep bool) *jose.Signer {
	t.Helper()
	s := newSigner(t, id, elliptic.P256())
	p.change(func() {
		if !keep {
			clear(p.keys)
		}
		p.keys[id] = s
	})
	return s
}

func newSigner(t *testing.T, id string, curve elliptic.Curve) *jose.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(id, crypto.Signer(key))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bench is an authenticator that trusts one provider.
type bench struct {
	*Authenticator

	t     *testing.T
	clock *clock.Fake
	from  *provider
	key   *jose.Signer
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	p := newProvider(t)
	cfg := DefaultConfig()
	cfg.Issuers = []IssuerConfig{{Issuer: p.URL, Audiences: []string{"poterne"}}}
	if change != nil {
		change(&cfg)
	}
	cfg.Complete()
	var problems config.Problems
	cfg.Validate(&problems, "tokens")
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, clock: clock.NewFake(start()), from: p, key: p.rotate(t, "one", false)}
	var err error
	b.Authenticator, err = New(cfg, Options{Clock: b.clock, Logger: slog.New(slog.DiscardHandler), PlatformTenant: "default", Transport: http.DefaultTransport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// claims are those of a good token, with changes; nil takes a claim away.
func (b *bench) claims(changes map[string]any) map[string]any {
	now := b.clock.Now().Unix()
	c := map[string]any{
		"iss": b.from.URL, "aud": "poterne", "exp": now + 3600, "iat": now, "sub": "ana",
		"tenant": "acme", "roles": []string{"developer", "Not A Role"}, "groups": "research ops",
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func sign(t *testing.T, by *jose.Signer, claims map[string]any) string {
	t.Helper()
	token, err := by.Sign("at+jwt", claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// cause is why a token is refused; empty: it is accepted, "away" is not judged.
func (b *bench) cause(token string) authn.Cause {
	b.t.Helper()
	_, err := b.Authenticate(b.t.Context(), token)
	var r *authn.RefusedError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &r):
		return r.Cause
	case apierr.ReasonOf(err) == apierr.Unavailable:
		return "away"
	default:
		b.t.Fatal(err)
		return ""
	}
}
