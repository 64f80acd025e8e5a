package edge_test

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge"
)

const (
	backchannelPath = "/logout/backchannel"
	logoutEvent     = "http://schemas.openid.net/event/backchannel-logout"
)

// logoutClaims are those of a good logout token, with changes; nil takes one away.
func (p *fakeProvider) logoutClaims(changes map[string]any) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": p.URL, "aud": "edge", "iat": now.Unix(), "exp": now.Unix() + 120, "jti": "logout-" + strconv.FormatInt(now.UnixNano(), 36),
		"sub": "ana", "events": map[string]any{logoutEvent: map[string]any{}},
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func (p *fakeProvider) logoutToken(changes map[string]any) string {
	p.t.Helper()
	token, err := p.key.Sign("logout+jwt", p.logoutClaims(changes))
	if err != nil {
		p.t.Fatal(err)
	}
	return token
}

// endThere sends a logout token as a provider does.
func (g loginGate) endThere(token string) answer {
	g.t.Helper()
	return g.browser().send("POST", backchannelPath, url.Values{"logout_token": {token}}.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

func (b *browser) works() bool {
	b.t.Helper()
	return b.send("GET", "/v1/models", "", "Sec-Fetch-Site", "same-origin").status == http.StatusOK
}

func TestProviderEndsSessions(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	log := func(sub, sid string) *browser {
		t.Helper()
		p.change(func() { p.claims = map[string]any{"sub": sub, "sid": sid} })
		b := g.browser()
		if a := g.login(b); a.status != http.StatusSeeOther {
			t.Fatalf("status %d, %s", a.status, a.text)
		}
		return b
	}
	one, two, bob := log("ana", "login-1"), log("ana", "login-2"), log("bob", "login-3")
	token := p.logoutToken(map[string]any{"sid": "login-1"})
	a := g.endThere(token)
	if a.status != http.StatusOK || a.header.Get("Cache-Control") != "no-store" || a.text != "" {
		t.Fatalf("status %d %v %s", a.status, a.header, a.text)
	}
	if one.works() || !two.works() || !bob.works() {
		t.Error("one login ends, and no other")
	}
	if a := g.endThere(token); a.status != http.StatusBadRequest || !strings.Contains(a.text, `"error":"invalid_request"`) {
		t.Errorf("used again: %d %s", a.status, a.text)
	}
	if a := g.endThere(p.logoutToken(map[string]any{"sub": nil, "sid": "login-3"})); a.status != http.StatusOK || bob.works() {
		t.Errorf("a login without its person: %d %s", a.status, a.text)
	}
	if a := g.endThere(p.logoutToken(map[string]any{"sub": "nobody"})); a.status != http.StatusOK {
		t.Errorf("nobody who is logged in: %d %s", a.status, a.text)
	}
	three := log("ana", "login-4")
	if a := g.endThere(p.logoutToken(nil)); a.status != http.StatusOK || two.works() || three.works() {
		t.Errorf("all of a person's: %d %s", a.status, a.text)
	}
	trail := g.do("GET", "/v1/admin/audit?page_size=100", "")
	if !strings.Contains(trail.text, `/poterne.edge.v1.Login/LogoutByProvider`) || !strings.Contains(trail.text, `session/of acme/ana`) || strings.Contains(trail.text, "eyJ") {
		t.Errorf("the trail: %s", trail.text)
	}
	if a := one.get("/account"); a.status != http.StatusSeeOther {
		t.Errorf("the page of who is logged out: %d", a.status)
	}
}

// What a logout token must be: each of these ends nothing.
func TestLogoutTokenDefects(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	p.change(func() { p.claims = map[string]any{"sid": "login-1"} })
	b := g.browser()
	g.login(b)
	now := time.Now().Unix()
	with := func(name string, v any) string { return p.logoutToken(map[string]any{name: v}) }
	typed := func(typ string) string { token, _ := p.key.Sign(typ, p.logoutClaims(nil)); return token }
	foreign, _ := newSigner(t, "one").Sign("logout+jwt", p.logoutClaims(nil))
	idToken, _ := p.key.Sign("JWT", map[string]any{"iss": p.URL, "aud": "edge", "exp": now + 300, "iat": now, "sub": "ana", "nonce": "x", "sid": "login-1"})
	parts := strings.Split(p.logoutToken(nil), ".")
	for name, token := range map[string]string{
		"nothing": "", "rubbish": "a.b.c", "an ID token": idToken, "another's signature": foreign,
		"no signature":     parts[0] + "." + parts[1] + ".",
		"alg none":         "eyJhbGciOiJub25lIn0." + parts[1] + ".",
		"a secret":         "eyJhbGciOiJIUzI1NiJ9." + parts[1] + "." + parts[2],
		"an access token":  typed("at+jwt"),
		"no event":         with("events", nil),
		"another event":    with("events", map[string]any{"http://schemas.openid.net/event/x": map[string]any{}}),
		"an event's text":  with("events", logoutEvent),
		"an event's list":  with("events", []string{logoutEvent}),
		"an event's truth": with("events", map[string]any{logoutEvent: true}),
		"a nonce":          with("nonce", "x"),
		"an empty nonce":   with("nonce", ""),
		"a nonce null":     p.logoutToken(map[string]any{"nonce": []any{}}),
		"no name":          with("jti", nil),
		"an empty name":    with("jti", ""),
		"a long name":      with("jti", strings.Repeat("j", 256)),
		"a name's number":  with("jti", 1),
		"nobody":           with("sub", nil),
		"a long person":    with("sub", strings.Repeat("s", 256)),
		"an empty login":   with("sid", ""),
		"a login's number": with("sid", 1),
		"a long login":     with("sid", strings.Repeat("s", 256)),
		"another issuer":   with("iss", "https://other.example"),
		"another audience": with("aud", "other"),
		"others too":       with("aud", []string{"edge", "other"}),
		"no time":          with("iat", nil),
		"no end":           with("exp", nil),
		"ended":            with("exp", now-70),
		"of the past":      with("iat", now-370),
		"of the future":    with("iat", now+70),
		"not yet":          with("nbf", now+70),
		"a time's text":    with("iat", strconv.FormatInt(now, 10)),
		"longer than any":  p.logoutToken(map[string]any{"x": strings.Repeat("x", 17<<10)}),
	} {
		a := g.endThere(token)
		if a.status != http.StatusBadRequest || !strings.Contains(a.text, `"error":"invalid_request"`) || strings.Contains(a.text, "eyJ") {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	good := url.Values{"logout_token": {p.logoutToken(nil)}}
	for name, tt := range map[string]struct {
		method, body, kind string
		status             int
	}{
		"twice":      {"POST", good.Encode() + "&" + good.Encode(), "application/x-www-form-urlencoded", 400},
		"JSON":       {"POST", `{"logout_token":"x"}`, "application/json", 400},
		"no type":    {"POST", good.Encode(), "", 400},
		"too large":  {"POST", good.Encode() + "&x=" + strings.Repeat("x", 20<<10), "application/x-www-form-urlencoded", 400},
		"in the URL": {"GET", "", "", 405},
	} {
		path := backchannelPath
		if tt.method == "GET" {
			path += "?" + good.Encode()
		}
		if a := b.send(tt.method, path, tt.body, "Content-Type", tt.kind); a.status != tt.status {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if !b.works() {
		t.Error("the session has ended")
	}
}

// A provider whose keys are away is no mistake of the token's, and rubbish costs the
// address.
func TestLogoutTokensWhileTheProviderIsAway(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, func(c *edge.Config) {
		c.Security.Limits.Address.RequestsPerMinute, c.Security.Limits.Address.FailureCost = 60, 20
	})
	token := p.logoutToken(nil)
	p.Close()
	if a := g.endThere(token); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.text, `"error":"temporarily_unavailable"`) {
		t.Errorf("status %d %v %s", a.status, a.header, a.text)
	}
	var last answer
	for range 10 {
		if last = g.endThere("a.b.c"); last.status == http.StatusTooManyRequests {
			break
		}
	}
	if last.status != http.StatusTooManyRequests || last.header.Get("Retry-After") == "" {
		t.Errorf("status %d %v %s", last.status, last.header, last.text)
	}
}
