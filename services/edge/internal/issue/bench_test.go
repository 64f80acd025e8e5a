package issue

import (
	"path/filepath"
	"testing"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// BenchmarkAuthenticate is what a token of the edge's own costs a request once it
// is remembered.
func BenchmarkAuthenticate(b *testing.B) {
	e := newEdge(b, "sqlite://"+filepath.Join(b.TempDir(), "edge.db"), clock.NewFake(start()), newKeys(), nil)
	token, err := e.issue(request{scopes: []string{"model:chat"}}, authn.Confirmation{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !e.Authenticator().Recognises(token) {
			b.Fatal("not recognised")
		}
		if _, err := e.Authenticator().Authenticate(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}
