//go:build real

package edge_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge"
)

const (
	realClient = "poterne-edge"
	realSecret = "a secret of the client's"
)

// realLogin is an edge whose people log in at a real provider, which is reached
// through a proxy of ours.
type realLogin struct {
	*gate
	provider *testkit.OIDCServer
	proxy    *meddler
}

// meddler is a proxy before the provider that can change the token endpoint's answers.
type meddler struct {
	*httptest.Server
	mu     sync.Mutex
	target *url.URL
	change func(answer map[string]any)
}

func newMeddler(t *testing.T) *meddler {
	t.Helper()
	m := new(meddler)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			m.mu.Lock()
			defer m.mu.Unlock()
			r.SetURL(m.target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ModifyResponse: func(r *http.Response) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			if r.Request.URL.Path != "/token" || m.change == nil {
				return nil
			}
			var answer map[string]any
			if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
				return err
			}
			m.change(answer)
			text, err := json.Marshal(answer)
			if err != nil {
				return err
			}
			r.Body = io.NopCloser(strings.NewReader(string(text)))
			r.ContentLength = int64(len(text))
			r.Header.Del("Content-Length")
			return nil
		},
	}
	m.Server = httptest.NewServer(proxy)
	t.Cleanup(m.Close)
	return m
}

func (m *meddler) meddle(change func(map[string]any)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.change = change
}

// openRealLogin starts a provider and an edge; both know each other's address.
func openRealLogin(t *testing.T, change func(*edge.Config)) realLogin {
	t.Helper()
	m := newMeddler(t)
	fake := &fakeProvider{Server: m.Server, t: t, secret: realSecret}
	g := openLogin(t, fake, func(c *edge.Config) {
		c.Security.Login.Provider.ClientID = realClient
		if change != nil {
			change(c)
		}
	})
	p := testkit.OIDCProvider(t, testkit.OIDCProviderOptions{
		Issuer: m.URL, Proxy: true,
		Clients: []map[string]any{{
			"client_id": realClient, "client_secret": realSecret, "grant_types": []string{"authorization_code"},
			"redirect_uris": []string{g.url + "/login/callback"}, "post_logout_redirect_uris": []string{g.url + "/logout"},
			"backchannel_logout_uri": g.url + "/logout/backchannel", "backchannel_logout_session_required": true,
		}, {
			// Another application of the same provider, which never gets to see anything.
			"client_id": "wiki", "client_secret": realSecret, "grant_types": []string{"authorization_code"},
			"redirect_uris": []string{g.url + "/wiki"}, "post_logout_redirect_uris": []string{g.url + "/wiki"},
		}},
		Accounts: map[string]map[string]any{
			"ana": {"tenant": "acme", "roles": []string{"developer"}, "groups": []string{"research"}}, "nobody": {"roles": []string{"admin"}},
		},
	})
	target, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.target = target
	m.mu.Unlock()
	return realLogin{gate: g.gate, provider: p, proxy: m}
}

func (l realLogin) browser() *browser {
	l.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return &browser{t: l.t, home: l.url, Client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	formField  = regexp.MustCompile(`<input[^>]* type="hidden"[^>]* name="([^"]+)"[^>]* value="([^"]*)"`)
)

// walk follows redirects and fills in the provider's forms as name, until the browser
// is sent back to the edge; it returns that address.
func (l realLogin) walk(b *browser, to, name string) string {
	l.t.Helper()
	a := b.get(to)
	for range 20 {
		if a.status/100 == 3 {
			next, err := url.Parse(to)
			if err != nil {
				l.t.Fatal(err)
			}
			if next, err = next.Parse(a.header.Get("Location")); err != nil {
				l.t.Fatal(err)
			}
			if to = next.String(); strings.HasPrefix(to, l.url+"/") {
				return to
			}
			a = b.get(to)
			continue
		}
		action := formAction.FindStringSubmatch(a.text)
		if action == nil {
			l.t.Fatalf("no form at %s: status %d, %s", to, a.status, a.text)
		}
		form := url.Values{"login": {name}, "password": {"any"}, "logout": {"yes"}}
		for _, f := range formField.FindAllStringSubmatch(a.text, -1) {
			form.Set(f[1], f[2])
		}
		next, err := url.Parse(to)
		if err != nil {
			l.t.Fatal(err)
		}
		if next, err = next.Parse(action[1]); err != nil {
			l.t.Fatal(err)
		}
		to = next.String()
		a = b.send(http.MethodPost, to, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
	}
	l.t.Fatal("the provider goes round in circles")
	return ""
}

// back is where the provider sends a browser that logs in as name.
func (l realLogin) back(b *browser, name string) string {
	l.t.Helper()
	return l.walk(b, b.begin("/login"), name)
}

func TestRealLogin(t *testing.T) {
	l := openRealLogin(t, nil)
	b := l.browser()
	back := l.back(b, "ana")
	flow := b.cookies()["poterne-login"]
	a := b.get(back)
	if a.status != http.StatusSeeOther || a.header.Get("Location") != l.url+"/account" {
		t.Fatalf("status %d to %s: %s", a.status, a.header.Get("Location"), a.text)
	}
	if a := b.get("/account"); a.status != http.StatusOK || !strings.Contains(a.text, "acme") || !strings.Contains(a.text, "research") {
		t.Fatalf("status %d, %s", a.status, a.text)
	}
	if a := b.send("GET", "/v1/models", "", "Sec-Fetch-Site", "same-origin"); a.status != http.StatusOK {
		t.Errorf("a call: status %d, %s", a.status, a.text)
	}
	if a := b.send("POST", "/v1/chat/completions", `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`,
		"Content-Type", "application/json", "Sec-Fetch-Site", "same-origin", "X-CSRF-Token", b.csrf()); a.status != http.StatusOK {
		t.Errorf("a chat: status %d, %s", a.status, a.text)
	}
	session := "poterne-session=" + b.cookies()["poterne-session"]

	t.Run("a replayed code", func(t *testing.T) {
		again := l.browser()
		if a := again.send("GET", back, "", "Cookie", "poterne-login="+flow); a.status != http.StatusUnauthorized || again.cookies()["poterne-session"] != "" {
			t.Errorf("status %d, %s", a.status, a.text)
		}
	})

	a = b.post("/logout", url.Values{"csrf_token": {b.csrf()}})
	if to := a.header.Get("Location"); a.status != http.StatusSeeOther || !strings.HasPrefix(to, l.proxy.URL) {
		t.Fatalf("status %d to %s", a.status, to)
	}
	if end := l.walk(b, a.header.Get("Location"), ""); !strings.HasPrefix(end, l.url+"/logout") {
		t.Errorf("from the provider to %s", end)
	}
	if a := l.browser().send("GET", "/v1/models", "", "Sec-Fetch-Site", "same-origin", "Cookie", session); a.status != http.StatusUnauthorized {
		t.Errorf("after logging out: status %d", a.status)
	}
	if a := b.get(b.begin("/login")); !strings.Contains(a.header.Get("Location"), "/interaction/") {
		t.Errorf("the provider knows the browser still: status %d to %s", a.status, a.header.Get("Location"))
	}
	records := l.do("GET", "/v1/admin/audit?page_size=100", "")
	for _, want := range []string{`/poterne.edge.v1.Login/Complete`, `/poterne.edge.v1.Login/Logout`, `"session/`} {
		if !strings.Contains(records.text, want) {
			t.Errorf("no record of %s", want)
		}
	}
}

func TestRealLoginDefects(t *testing.T) {
	l := openRealLogin(t, nil)
	part := func(token string, i int, change func(string) string) string {
		parts := strings.Split(token, ".")
		parts[i] = change(parts[i])
		return strings.Join(parts, ".")
	}
	claims := func(token string, changes map[string]any) string {
		return part(token, 1, func(s string) string {
			raw, err := base64.RawURLEncoding.DecodeString(s)
			var c map[string]any
			if err != nil || json.Unmarshal(raw, &c) != nil {
				t.Error("the provider's token cannot be read")
			}
			maps.Copy(c, changes)
			raw, _ = json.Marshal(c)
			return base64.RawURLEncoding.EncodeToString(raw)
		})
	}
	fails := func(b *browser, back string, status int) {
		t.Helper()
		a := b.get(back)
		if a.status != status || b.cookies()["poterne-session"] != "" || !strings.Contains(a.text, a.header.Get("X-Request-Id")) {
			t.Errorf("status %d, want %d: %s", a.status, status, a.text)
		}
	}
	b := l.browser()
	fails(b, strings.Replace(l.back(b, "ana"), "state=", "state=x", 1), http.StatusUnauthorized)
	b = l.browser()
	fails(b, strings.Replace(l.back(b, "ana"), "iss=", "iss=x", 1), http.StatusUnauthorized)
	b = l.browser()
	fails(b, l.back(b, "nobody"), http.StatusForbidden)
	b, other := l.browser(), l.browser()
	fails(b, l.back(other, "ana"), http.StatusUnauthorized) // another browser's
	for name, change := range map[string]func(string) string{
		"claims": func(s string) string { return claims(s, map[string]any{"tenant": "globex"}) },
		"nonce":  func(s string) string { return claims(s, map[string]any{"nonce": "x"}) },
		"none": func(s string) string {
			return part(part(s, 0, func(string) string { return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) }), 2, func(string) string { return "" })
		},
		"signature": func(s string) string { return part(s, 2, func(s string) string { return "AAAA" + s[4:] }) },
		"empty":     func(string) string { return "" },
	} {
		l.proxy.meddle(func(answer map[string]any) {
			token, _ := answer["id_token"].(string)
			answer["id_token"] = change(token)
		})
		b := l.browser()
		t.Log(name)
		fails(b, l.back(b, "ana"), http.StatusUnauthorized)
	}
	// A whole token that the provider has signed, of another login: its nonce differs.
	var first string
	l.proxy.meddle(func(answer map[string]any) {
		if first == "" {
			first, _ = answer["id_token"].(string)
		}
		answer["id_token"] = first
	})
	b = l.browser()
	if a := b.get(l.back(b, "ana")); a.status != http.StatusSeeOther {
		t.Errorf("the token's own login: status %d", a.status)
	}
	b = l.browser()
	fails(b, l.back(b, "ana"), http.StatusUnauthorized)
	l.proxy.meddle(nil)

	b = l.browser()
	back := l.back(b, "ana")
	l.provider.Kill()
	fails(b, back, http.StatusServiceUnavailable)
}

func TestRealLoginProviderAway(t *testing.T) {
	l := openRealLogin(t, nil)
	l.provider.Kill()
	b := l.browser()
	a := b.get("/login")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.text, a.header.Get("X-Request-Id")) {
		t.Errorf("status %d, %s", a.status, a.text)
	}
}

func TestRealTwoEdges(t *testing.T) { testTwoEdges(t, testkit.Postgres(t).DSN) }

func TestRealLoginTwoEdges(t *testing.T) {
	dsn := testkit.Postgres(t).DSN
	share := func(c *edge.Config) {
		c.Security.Store, c.Security.Keys.Pepper = sqldb.DefaultConfig(dsn), "what both of the edges know of keys"
	}
	l := openRealLogin(t, share)
	second := openLoginBeside(t, loginGate{gate: l.gate, provider: &fakeProvider{Server: l.proxy.Server, secret: realSecret}}, func(c *edge.Config) {
		share(c)
		c.Security.Login.Provider.ClientID, c.Security.Login.Provider.ClientSecret = realClient, config.Secret(realSecret)
	})
	b := l.browser()
	back := strings.Replace(l.back(b, "ana"), l.url, second, 1)
	if a := b.get(back); a.status != http.StatusSeeOther {
		t.Fatalf("status %d, %s", a.status, a.text)
	}
	for _, e := range []string{l.url, second} {
		if a := b.send("GET", e+"/v1/models", "", "Sec-Fetch-Site", "same-origin"); a.status != http.StatusOK {
			t.Errorf("%s: status %d, %s", e, a.status, a.text)
		}
	}
}
