package issue

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/jose"
)

func TestKeysRotateWithoutAGap(t *testing.T) { testRotation(t, sqliteDSN(t)) }

// testRotation runs two edges on one store through several keys. At no time is
// there a token that has not ended and that an edge refuses, or somebody who has
// remembered the published keys for as long as is allowed; and no key is published
// longer than it is needed.
func testRotation(t *testing.T, dsn string) {
	t.Helper()
	k, ck := newKeys(), clock.NewFake(start())
	short := func(c *Config) {
		c.RotateEvery, c.PublishBefore, c.Lifetime = 2*time.Hour, 20*time.Minute, 30*time.Minute
	}
	edges := []*edge{newEdge(t, dsn, ck, k, short), newEdge(t, dsn, ck, k, short)}
	random := rand.New(rand.NewPCG(1, 2)) // the same each time
	type live struct {
		token string
		until time.Time
	}
	var tokens []live
	var others jose.KeySet // what somebody else remembers
	remembered := time.Time{}
	signers := make(map[string]bool)
	for minute := range 5 * 60 {
		ck.Advance(time.Minute)
		now := ck.Now()
		for _, e := range edges {
			if err := e.ring.watch(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		e := edges[random.IntN(2)]
		if minute%7 == 0 {
			tokens = append(tokens, live{e.mustIssue(request{}), now.Add(30 * time.Minute)})
		}
		if now.Sub(remembered) >= 5*time.Minute || minute == 0 {
			text, err := e.ring.published(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if others, err = jose.ParseKeySet(text, jose.KeySetOptions{}); err != nil || others.Keys() > 2 {
				t.Fatalf("%d keys are published, %v", others.Keys(), err)
			}
			remembered = now
		}
		for len(tokens) > 0 && !now.Before(tokens[0].until) {
			tokens = tokens[1:]
		}
		for _, l := range tokens {
			parsed, err := jose.Parse(l.token)
			if err != nil {
				t.Fatal(err)
			}
			signers[parsed.KeyID] = true
			if _, err := parsed.Verify(others); err != nil {
				t.Fatalf("after %d minutes others cannot verify a token by what they remember", minute)
			}
			if got := edges[minute%2].cause(l.token); got != "" {
				t.Fatalf("after %d minutes an edge refuses a token: %q", minute, got)
			}
		}
	}
	if len(signers) != 3 {
		t.Errorf("%d keys have signed", len(signers))
	}
}

// After all edges were away for long, the next token has a new key.
func TestKeysAfterALongBreak(t *testing.T) {
	k, ck := newKeys(), clock.NewFake(start())
	e := newEdge(t, sqliteDSN(t), ck, k, nil)
	first, err := e.ring.signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ck.Advance(30 * 24 * time.Hour)
	second, err := e.ring.signer(t.Context())
	if err != nil || first.KeyID() == second.KeyID() {
		t.Fatalf("%v", err)
	}
	if set, _ := e.ring.known(); set.Keys() != 1 {
		t.Errorf("%d keys are published", set.Keys())
	}
	// With the store away, what is known signs on, until it must not.
	_ = e.db.Close()
	ck.Advance(23*time.Hour + 59*time.Minute)
	if s, err := e.ring.signer(t.Context()); err != nil || s.KeyID() != second.KeyID() {
		t.Errorf("with the store away: %v", err)
	}
	ck.Advance(2 * time.Minute)
	if _, err := e.ring.signer(t.Context()); err == nil {
		t.Error("a key signs beyond its time")
	}
}
