package possession

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// BenchmarkProof is what a proof costs a request, and a token without one.
func BenchmarkProof(b *testing.B) {
	c := newChecker(clock.NewFake(start()), func(c *Config) { c.Nonce = false; c.MaxProofs = 1 << 24 })
	key := newKey(b)
	bound := authn.Principal{Confirmation: authn.Confirmation{Key: key.Thumbprint()}}
	text, err := key.SignEmbedding(proofType, map[string]any{
		"htm": "GET", "htu": "http://api.example/x", "jti": "1", "ath": hashOf("token"), "iat": start().Unix(),
	})
	if err != nil {
		b.Fatal(err)
	}
	r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "http://api.example/x", http.NoBody)
	r.Header.Set("DPoP", text)
	ctx := arrival.OfHTTP(b.Context(), r)
	b.Run("dpop", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			p, err := c.Verify(ctx, "token")
			if err != nil {
				b.Fatal(err)
			}
			p.jti = strconv.Itoa(i)
			bound.Caller.KeyID = strconv.Itoa(i % 1000)
			if _, err := c.Confirm(ctx, authn.DPoP, p, &bound); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bearer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Confirm(ctx, authn.Bearer, Proof{}, &authn.Principal{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
