package oidc

import (
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/authn"
)

// Keys that change while the issuer is away: the known ones hold, the new one is
// taken once it is back.
func TestRotationWhileAway(t *testing.T) {
	b := newBench(t, nil)
	old := sign(t, b.key, b.claims(nil))
	if got := b.cause(old); got != "" {
		t.Fatal(got)
	}
	b.from.change(func() {
		b.from.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	})
	b.clock.Advance(firstPause)
	two := b.from.rotate(t, "two", false)
	fresh := sign(t, two, b.claims(nil))
	if got := b.cause(fresh); got != authn.Unknown {
		t.Errorf("by a key that cannot be read: %q", got)
	}
	if got := b.cause(old); got != "" {
		t.Errorf("by a known key: %q", got)
	}
	b.from.change(func() { b.from.answer = nil })
	b.clock.Advance(firstPause)
	if got := b.cause(fresh); got != "" {
		t.Errorf("once the issuer is back: %q", got)
	}
	if got := b.cause(old); got != authn.Unknown {
		t.Errorf("by a key that it has taken back: %q", got)
	}
}

// An issuer that does not answer does not hold a request for longer than that, and
// its late answer is used for the next one.
func TestSlowIssuer(t *testing.T) {
	b := newBench(t, nil)
	release := make(chan struct{})
	b.from.change(func() {
		text, err := jose.PublicSet(slices.Collect(maps.Values(b.from.keys))...)
		if err != nil {
			t.Fatal(err)
		}
		b.from.answer = func(w http.ResponseWriter, _ *http.Request) {
			<-release
			_, _ = w.Write(text)
		}
	})
	token := sign(t, b.key, b.claims(nil))
	got := make(chan authn.Cause)
	go func() { got <- b.cause(token) }()
	if err := b.clock.BlockUntil(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	b.clock.Advance(waitForKeys)
	if c := <-got; c != "away" {
		t.Errorf("while it does not answer: %q", c)
	}
	close(release)
	b.running.Wait()
	if c := b.cause(token); c != "" {
		t.Errorf("afterwards: %q", c)
	}
}
