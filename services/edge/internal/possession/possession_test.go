package possession

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/jose"
	"github.com/poterne/poterne/services/edge/internal/arrival"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
)

func start() time.Time { return time.Unix(1_800_000_000, 0) }

func newChecker(ck clock.Clock, change func(*Config)) *Checker {
	c := DefaultConfig()
	if change != nil {
		change(&c)
	}
	return New(c, []byte(strings.Repeat("k", 32)), ck, clientaddr.New(nil))
}

func newKey(tb testing.TB) *jose.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := jose.NewSigner("x", key)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// verify shows a proof for GET http://api.example/x.
func verify(t *testing.T, c *Checker, key *jose.Signer, claims map[string]any) (Proof, *authn.RefusedError) {
	t.Helper()
	all := map[string]any{"htm": "GET", "htu": "http://api.example/x", "jti": "1", "ath": hashOf("token"), "iat": c.clock.Now().Unix()}
	maps.Copy(all, claims)
	text, err := key.SignEmbedding(proofType, all)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://api.example/x", http.NoBody)
	r.Header.Set("DPoP", text)
	p, err := c.Verify(arrival.OfHTTP(t.Context(), r), "token")
	var refused *authn.RefusedError
	if err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	return p, refused
}

// A nonce of one replica is good on every other, for its time, and the client gets
// the next one before that is over.
func TestNonces(t *testing.T) {
	ck := clock.NewFake(start())
	one, two := newChecker(ck, nil), newChecker(ck, nil)
	key := newKey(t)
	_, r := verify(t, one, key, nil)
	if r == nil || r.Code != UseNonce || r.Nonce == "" {
		t.Fatalf("without one: %+v", r)
	}
	with := map[string]any{"nonce": r.Nonce}
	if p, r := verify(t, two, key, with); r != nil || p.Nonce != "" || p.Key != key.Thumbprint() {
		t.Errorf("on another replica: %+v, %v", p, r)
	}
	ck.Advance(151 * time.Second)
	if p, r := verify(t, two, key, with); r != nil || p.Nonce == "" || p.Nonce == with["nonce"] {
		t.Errorf("at half its time: %+v, %v", p, r)
	}
	ck.Advance(150 * time.Second)
	if _, r := verify(t, one, key, with); r == nil || r.Code != UseNonce {
		t.Errorf("after its time: %v", r)
	}
	other := New(DefaultConfig(), []byte(strings.Repeat("o", 32)), ck, clientaddr.New(nil))
	if _, r := verify(t, one, key, map[string]any{"nonce": other.nonces.make(ck.Now())}); r == nil || r.Code != UseNonce {
		t.Errorf("of others: %v", r)
	}
	if _, r := verify(t, one, key, map[string]any{"nonce": one.nonces.make(ck.Now().Add(time.Hour))}); r == nil {
		t.Error("of the future: taken")
	}
}

// No proof is shown twice for as long as its time allows it, to the last moment.
func TestReplay(t *testing.T) {
	ck := clock.NewFake(start())
	c := newChecker(ck, func(c *Config) { c.Nonce = false })
	key := newKey(t)
	claims := map[string]any{"iat": start().Add(c.config.Skew).Unix()}
	p, r := verify(t, c, key, claims)
	if r != nil {
		t.Fatal(r)
	}
	if err := c.Use(p, "ana"); err != nil {
		t.Fatal(err)
	}
	for {
		p, r := verify(t, c, key, claims)
		if r != nil {
			break // it can no longer be shown
		}
		if err := c.Use(p, "ben"); err == nil {
			t.Fatalf("shown again after %v", ck.Now().Sub(start()))
		}
		ck.Advance(time.Second)
	}
	if got := ck.Now().Sub(start()); got != c.config.Skew+c.config.MaxAge+time.Second {
		t.Errorf("it held for %v", got)
	}
	if _, err := c.Confirm(t.Context(), authn.DPoP, Proof{Key: p.Key, jti: "2"}, &authn.Principal{Confirmation: authn.Confirmation{Key: p.Key}}); err != nil {
		t.Error(err)
	}
	if n := len(c.shown.seen); n != 1 {
		t.Errorf("%d are remembered", n)
	}
}

// What is full refuses, and forgets nothing; one caller cannot fill it.
func TestReplayIsBounded(t *testing.T) {
	const most = 160
	r := newReplay(time.Minute, most)
	now := start()
	show := func(owner, jti string) outcome { return r.show(owner, idOf("k", jti), now) }
	for i := range most / ownerShare {
		if got := show("greedy", "g"+strconv.Itoa(i)); got != fresh {
			t.Fatal(got)
		}
	}
	if got := show("greedy", "one more"); got != tooMany {
		t.Errorf("beyond its share: %v", got)
	}
	for i := range most - most/ownerShare {
		if got := show(strconv.Itoa(i), "o"+strconv.Itoa(i)); got != fresh {
			t.Fatal(got)
		}
	}
	if got := show("late", "late"); got != full {
		t.Errorf("when full: %v", got)
	}
	if got := show("thief", "g0"); got != repeated {
		t.Errorf("the oldest again: %v", got)
	}
	now = now.Add(time.Minute + time.Second)
	if got := show("late", "late"); got != fresh || len(r.seen) != 1 || len(r.owners) != 1 {
		t.Errorf("later: %v, %d remembered of %d", got, len(r.seen), len(r.owners))
	}
	full := newChecker(clock.NewFake(start()), nil)
	full.shown = newReplay(time.Minute, 1)
	_ = full.Use(Proof{Key: "a", jti: "1"}, "ana")
	if err := full.Use(Proof{Key: "b", jti: "2"}, "ben"); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Errorf("full: %v", err)
	}
	if err := full.Use(Proof{Key: "a", jti: "2"}, "ana"); apierr.ReasonOf(err) != apierr.RateLimited {
		t.Errorf("one caller: %v", err)
	}
}

func TestNormalise(t *testing.T) {
	for text, want := range map[string]string{
		"HTTPS://API.example":          "https://api.example/",
		"https://api.example:443/":     "https://api.example/",
		"https://api.example:/a":       "https://api.example/a",
		"http://api.example:80/a":      "http://api.example/a",
		"http://api.example:443/a":     "http://api.example:443/a",
		"https://[2001:DB8::1]:443/a":  "https://[2001:db8::1]/a",
		"https://h/%7eana/%2fb/%C3%a9": "https://h/~ana/%2Fb/%C3%A9",
		"https://h/a/./b/../c/..":      "https://h/a/",
		"https://h/../../a":            "https://h/a",
		"https://h/a//b":               "https://h/a//b",
		"https://h/a?b":                "",
		"https://h/a#b":                "",
		"https://h/a?":                 "",
		"https://u@h/a":                "",
		"https:h":                      "",
		"ftp://h/a":                    "",
		"/a":                           "",
		"":                             "",
		"https://h/" + strings.Repeat("a", 1<<13): "",
	} {
		got, ok := normalise(text)
		if got != want || ok != (want != "") {
			t.Errorf("%.80s: %q, want %q", text, got, want)
		}
	}
}

func TestHandedOn(t *testing.T) {
	der := certificate(t)
	text := base64.StdEncoding.EncodeToString(der)
	if got := handedOn([]string{" :" + text + ": "}); !bytes.Equal(got, der) {
		t.Error("the certificate is not read")
	}
	for name, values := range map[string][]string{
		"none": nil, "two": {":" + text + ":", ":" + text + ":"}, "bare": {text}, "half": {":" + text}, "one colon": {":"},
		"no certificate": {":AAAA:"}, "not base64": {":" + strings.Repeat("!", 8) + ":"}, "of lines": {":" + text[:8] + "\n" + text[8:] + ":"},
	} {
		if handedOn(values) != nil && name != "of lines" {
			t.Errorf("%s: taken", name)
		}
	}
}
