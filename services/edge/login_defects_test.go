package edge_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge"
)

// refusesLogin fails unless the browser is shown a page of that status which tells
// no secret, and nobody is logged in.
func refusesLogin(t *testing.T, b *browser, a answer, status int, name string) {
	t.Helper()
	id := a.header.Get("X-Request-Id")
	if a.status != status || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || id == "" || !strings.Contains(a.text, id) {
		t.Errorf("%s: status %d, want %d: %s", name, a.status, status, a.text)
	}
	if b.cookies()["poterne-session"] != "" {
		t.Errorf("%s: somebody is logged in", name)
	}
	for _, secret := range []string{"hunter2", "code-", "eyJ", "id.example", "invalid_grant"} {
		if strings.Contains(a.text, secret) {
			t.Errorf("%s: the page tells %q: %s", name, secret, a.text)
		}
	}
}

func TestLoginDefectsOfIDTokens(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	now := time.Now().Unix()
	other := newSigner(t, "one")
	with := func(claims map[string]any) func() { return func() { p.claims = claims } }
	for name, c := range map[string]struct {
		change func()
		status int
	}{
		"another audience":          {with(map[string]any{"aud": "other"}), 401},
		"further audiences":         {with(map[string]any{"aud": []string{"edge", "other"}, "azp": "edge"}), 401},
		"no audience":               {with(map[string]any{"aud": nil}), 401},
		"another client":            {with(map[string]any{"azp": "other"}), 401},
		"a client that is no text":  {with(map[string]any{"azp": 7}), 401},
		"another nonce":             {with(map[string]any{"nonce": "x"}), 401},
		"no nonce":                  {with(map[string]any{"nonce": nil}), 401},
		"a nonce that is no text":   {with(map[string]any{"nonce": []string{"x"}}), 401},
		"another access token":      {with(map[string]any{"at_hash": "x"}), 401},
		"another issuer":            {with(map[string]any{"iss": "https://id.example"}), 401},
		"no issuer":                 {with(map[string]any{"iss": nil}), 401},
		"expired":                   {with(map[string]any{"exp": now - 120}), 401},
		"no expiry":                 {with(map[string]any{"exp": nil}), 401},
		"old":                       {with(map[string]any{"iat": now - 1200}), 401},
		"from the future":           {with(map[string]any{"iat": now + 600}), 401},
		"no time":                   {with(map[string]any{"iat": nil}), 401},
		"not yet":                   {with(map[string]any{"nbf": now + 600}), 401},
		"no tenant":                 {with(map[string]any{"tenant": nil}), 403},
		"the platform's tenant":     {with(map[string]any{"tenant": "default"}), 403},
		"no subject":                {with(map[string]any{"sub": nil}), 403},
		"a subject with line ends":  {with(map[string]any{"sub": "a\nb"}), 403},
		"another key":               {func() { p.signer = other }, 401},
		"an access token":           {func() { p.typ = "at+jwt" }, 401},
		"none":                      {func() { p.mangle = unsigned }, 401},
		"a changed claim":           {func() { p.mangle = renamed }, 401},
		"no token":                  {func() { p.mangle = func(string) string { return "" } }, 401},
		"too long":                  {func() { p.mangle = func(s string) string { return s + strings.Repeat("A", 20<<10) } }, 401},
		"the provider cannot":       {func() { p.token = answering(500, `{}`) }, 503},
		"the provider has no time":  {func() { p.token = answering(429, `{}`) }, 503},
		"the provider does not":     {func() { p.token = answering(400, `{"error":"invalid_grant"}`) }, 401},
		"no JSON":                   {func() { p.token = answering(200, `<html>`) }, 401},
		"a member twice":            {func() { p.token = answering(200, `{"id_token":"a","id_token":"b"}`) }, 401},
		"too much of it":            {func() { p.token = answering(200, `{"x":"`+strings.Repeat("x", 70<<10)+`"}`) }, 503},
		"somewhere else":            {func() { p.token = http.RedirectHandler("/keys", http.StatusTemporaryRedirect).ServeHTTP }, 503},
		"another secret":            {func() { p.secret = "changed" }, 401},
		"nothing, in a good answer": {func() { p.token = answering(200, `{}`) }, 401},
	} {
		secret := p.secret
		p.change(func() {
			p.claims, p.signer, p.typ, p.mangle, p.token = map[string]any{}, nil, "JWT", nil, nil
			c.change()
		})
		b := g.browser()
		refusesLogin(t, b, g.login(b), c.status, name)
		p.change(func() { p.secret = secret })
	}
	p.change(func() {
		p.claims, p.signer, p.typ, p.mangle, p.token = map[string]any{"azp": "edge", "at_hash": nil}, nil, "", nil, nil
	})
	b := g.browser()
	if a := g.login(b); a.status != http.StatusSeeOther {
		t.Errorf("a good one: status %d, %s", a.status, a.text)
	}
}

func answering(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text))
	}
}

func unsigned(token string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(token, ".")[1] + "."
}

func renamed(token string) string {
	parts := strings.Split(token, ".")
	raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims map[string]any
	_ = json.Unmarshal(raw, &claims)
	claims["sub"] = "root"
	raw, _ = json.Marshal(claims)
	return parts[0] + "." + base64.RawURLEncoding.EncodeToString(raw) + "." + parts[2]
}

func TestLoginDefectsOfAnswers(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	set := func(name, value string) func(url.Values) { return func(q url.Values) { q.Set(name, value) } }
	for name, c := range map[string]struct {
		change func(url.Values)
		status int
	}{
		"another state":     {set("state", "x"), 401},
		"no state":          {func(q url.Values) { q.Del("state") }, 401},
		"two states":        {func(q url.Values) { q.Add("state", "x") }, 400},
		"two codes":         {func(q url.Values) { q.Add("code", "x") }, 400},
		"no code":           {func(q url.Values) { q.Del("code") }, 400},
		"an invented code":  {set("code", "x"), 401},
		"another issuer":    {set("iss", "https://id.example"), 401},
		"no issuer":         {func(q url.Values) { q.Del("iss") }, 401},
		"denied":            {set("error", "access_denied"), 403},
		"denied, with HTML": {set("error", "<script>"), 403},
	} {
		b := g.browser()
		back := p.consent(b.begin("/login"))
		q := back.Query()
		c.change(q)
		back.RawQuery = q.Encode()
		a := b.get(back.String())
		refusesLogin(t, b, a, c.status, name)
		if strings.Contains(a.text, "<script") {
			t.Errorf("%s: %s", name, a.text)
		}
	}
	mine, theirs := g.browser(), g.browser()
	back := p.consent(theirs.begin("/login"))
	refusesLogin(t, mine, mine.get(back.String()), 401, "another browser's login, without one's own")
	mine.begin("/login")
	refusesLogin(t, mine, mine.get(back.String()), 401, "another browser's login, beside one's own")
	if mine.cookies()["poterne-login"] == "" {
		t.Error("somebody else's answer ended a login")
	}
	flow := theirs.cookies()["poterne-login"]
	if a := theirs.get(back.String()); a.status != http.StatusSeeOther {
		t.Fatalf("status %d", a.status)
	}
	refusesLogin(t, mine, mine.get(back.String()), 401, "a code that was used")
	again := g.browser()
	refusesLogin(t, again, again.send("GET", back.String(), "", "Cookie", "poterne-login="+flow), 401, "a code that was used, with the cookie")
	refusesLogin(t, again, again.send("GET", back.String(), "", "Cookie", "poterne-login=x; poterne-login="+flow), 401, "two cookies")
}

func TestLoginProviderAway(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	for name, c := range map[string]map[string]any{
		"another issuer's":     {"issuer": "https://id.example"},
		"no endpoint":          {"token_endpoint": nil},
		"endpoint without TLS": {"authorization_endpoint": "http://id.example/auth"},
		"a script":             {"authorization_endpoint": "javascript:alert(1)"},
		"a logout without TLS": {"end_session_endpoint": "http://id.example/end"},
		"no S256":              {"code_challenge_methods_supported": []string{"plain"}},
	} {
		p.change(func() { p.configuration = c })
		g := openLogin(t, p, nil)
		b := g.browser()
		a := b.get("/login")
		refusesLogin(t, b, a, 503, name)
		if a.header.Get("Retry-After") == "" {
			t.Errorf("%s: nobody knows when to try again", name)
		}
	}
	p.change(func() {
		p.configuration = map[string]any{"end_session_endpoint": nil, "authorization_response_iss_parameter_supported": nil}
	})
	b := g.browser()
	back := p.consent(b.begin("/login"))
	p.CloseClientConnections()
	p.Close()
	refusesLogin(t, b, b.get(back.String()), 503, "gone between")
}

func TestOpenRedirects(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	for _, to := range []string{
		"https://evil.example/", "//evil.example/", `/\evil.example`, "/%2f/evil.example", "/\t/evil.example", "@evil.example", ".evil.example",
		"/login?return_to=//evil.example", "/logout",
	} {
		b := g.browser()
		a := b.get(p.consent(b.begin("/login?return_to=" + url.QueryEscape(to))).String())
		if got := a.header.Get("Location"); a.status != http.StatusSeeOther || got != g.url+"/account" {
			t.Errorf("%q leads to %q", to, got)
		}
	}
	b := g.browser()
	if a := b.get(p.consent(b.begin("/login?return_to=/docs/&return_to=/x")).String()); a.header.Get("Location") != g.url+"/account" {
		t.Errorf("two of them lead to %s", a.header.Get("Location"))
	}
}

func TestPublicClient(t *testing.T) {
	p := newFakeProvider(t)
	p.secret = ""
	p.configuration = map[string]any{"end_session_endpoint": nil}
	g := openLogin(t, p, nil)
	b := g.browser()
	if a := g.login(b); a.status != http.StatusSeeOther {
		t.Fatalf("status %d, %s", a.status, a.text)
	}
	p.change(func() {
		if form := p.asked[0]; form.Get("client_id") != "edge" || form.Has("client_secret") || len(form.Get("code_verifier")) != 43 {
			t.Errorf("asked with %v", form)
		}
	})
	// A provider that offers no logout: it ends here.
	if a := b.post("/logout", url.Values{"csrf_token": {b.csrf()}}); a.header.Get("Location") != g.url+"/logout" {
		t.Errorf("to %s", a.header.Get("Location"))
	}
}

// TestSecureCookies: behind TLS the cookies are for it alone.
func TestSecureCookies(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, func(c *edge.Config) { c.Security.Login.PublicURL = "https://edge.example" })
	b := g.browser()
	a := b.get("/login")
	if c := a.header.Get("Set-Cookie"); !strings.HasPrefix(c, "__Host-poterne-login=") || !strings.Contains(c, "Secure") || strings.Contains(c, "Domain") {
		t.Errorf("the cookie is %s", c)
	}
	cookie, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	back := p.consent(a.header.Get("Location"))
	if back.Host != "edge.example" {
		t.Fatalf("back to %s", back)
	}
	a = g.browser().send("GET", back.RequestURI(), "", "Cookie", cookie)
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "https://edge.example/account" {
		t.Fatalf("status %d to %s", a.status, a.header.Get("Location"))
	}
	found := false
	for _, c := range a.header.Values("Set-Cookie") {
		found = found || strings.HasPrefix(c, "__Host-poterne-session=") && strings.Contains(c, "Secure") && strings.Contains(c, "Max-Age=43200")
	}
	if !found {
		t.Errorf("the cookies are %v", a.header.Values("Set-Cookie"))
	}
}
