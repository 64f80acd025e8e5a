package edge_test

import (
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge"
)

// loginGate is a gate where people can log in.
type loginGate struct {
	*gate
	provider *fakeProvider
}

func openLogin(t *testing.T, p *fakeProvider, change func(*edge.Config)) loginGate {
	t.Helper()
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	public := "http://" + lis.Addr().String()
	g := build(t, func(c *edge.Config) {
		c.Security.Limits.Address.RequestsPerMinute = 0
		l := &c.Security.Login
		l.Provider.Issuer, l.Provider.ClientID, l.Provider.ClientSecret = p.URL, "edge", config.Secret(p.secret)
		l.PublicURL = public
		if change != nil {
			change(c)
		}
	})
	g.run()
	server := &httptest.Server{Listener: lis, Config: &http.Server{Handler: g.Handler(), ReadHeaderTimeout: time.Minute}}
	server.Start()
	t.Cleanup(server.Close)
	g.url = public
	return loginGate{gate: g, provider: p}
}

// browser keeps cookies, and follows no redirects by itself.
type browser struct {
	*http.Client
	t    testing.TB
	home string
}

func (g loginGate) browser() *browser {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return &browser{t: g.t, home: g.url, Client: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}}
}

// send sends a request; pairs are headers. A path is one of the gateway.
func (b *browser) send(method, to, body string, pairs ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = b.home + to
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Firefox <b>")
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Header.Set(pairs[i], pairs[i+1])
	}
	resp, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{status: resp.StatusCode, header: resp.Header, text: string(text)}
}

func (b *browser) get(to string) answer { b.t.Helper(); return b.send(http.MethodGet, to, "") }

// post sends a form as a page of the gateway does.
func (b *browser) post(path string, form url.Values) answer {
	b.t.Helper()
	return b.send(http.MethodPost, path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded",
		"Origin", b.home, "Sec-Fetch-Site", "same-origin")
}

// begin asks to log in, and returns where the browser is sent.
func (b *browser) begin(path string) string {
	b.t.Helper()
	a := b.get(path)
	if a.status != http.StatusSeeOther {
		b.t.Fatalf("%s: status %d, %s", path, a.status, a.text)
	}
	return a.header.Get("Location")
}

// login logs in, and returns the answer to the last step.
func (g loginGate) login(b *browser) answer {
	b.t.Helper()
	return b.get(g.provider.consent(b.begin("/login")).String())
}

// cookies are the browser's for the gateway, by name.
func (b *browser) cookies() map[string]string {
	b.t.Helper()
	u, err := url.Parse(b.home)
	if err != nil {
		b.t.Fatal(err)
	}
	out := make(map[string]string)
	for _, c := range b.Jar.Cookies(u) {
		out[c.Name] = c.Value
	}
	return out
}

var csrfForm = regexp.MustCompile(`name="csrf_token" value="([^"]+)"`)

// csrf is the token that the account page has.
func (b *browser) csrf() string {
	b.t.Helper()
	a := b.get("/account")
	found := csrfForm.FindStringSubmatch(a.text)
	if found == nil {
		b.t.Fatalf("no token: status %d, %s", a.status, a.text)
	}
	return found[1]
}

func TestLogin(t *testing.T) {
	g := openLogin(t, newFakeProvider(t), nil)
	b := g.browser()
	to := b.begin("/login?return_to=/docs/%3Fx%3D1")
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"tenant": "x", "response_type": "code", "client_id": "edge", "redirect_uri": g.url + "/login/callback", "scope": "openid profile",
		"code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q", name, q.Get(name))
		}
	}
	if len(q.Get("state")) != 43 || len(q.Get("nonce")) != 43 || len(q.Get("code_challenge")) != 43 || q.Get("state") == q.Get("nonce") {
		t.Errorf("asked with %s", to)
	}
	flow := b.cookies()["poterne-login"]
	if flow == "" || strings.Contains(flow, q.Get("state")) {
		t.Errorf("the cookie is %q", flow)
	}
	a := b.get(g.provider.consent(to).String())
	if a.status != http.StatusSeeOther || a.header.Get("Location") != g.url+"/docs/?x=1" {
		t.Fatalf("status %d to %s: %s", a.status, a.header.Get("Location"), a.text)
	}
	cookies := b.cookies()
	if cookies["poterne-session"] == "" || cookies["poterne-login"] != "" {
		t.Errorf("the cookies are %v", cookies)
	}
	for _, c := range a.header.Values("Set-Cookie") {
		if !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") || !strings.Contains(c, "Path=/") {
			t.Errorf("cookie %s", c)
		}
	}
	page := b.get("/account")
	if page.status != http.StatusOK || !strings.Contains(page.text, "acme") || !strings.Contains(page.text, "developer") || !strings.Contains(page.text, "Firefox &lt;b&gt;") {
		t.Errorf("status %d, %s", page.status, page.text)
	}
	if csp := page.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") ||
		!strings.Contains(csp, "form-action 'self' "+g.provider.URL) {
		t.Errorf("the page may do %s", csp)
	}
	if strings.Contains(page.text, cookies["poterne-session"]) {
		t.Error("the page has the session's secret")
	}
	if a := b.send("GET", "/v1/models", "", "Sec-Fetch-Site", "same-origin"); a.status != http.StatusOK {
		t.Errorf("a call: status %d, %s", a.status, a.text)
	}
}

func TestSessionCookieCountsForOwnPagesOnly(t *testing.T) {
	g := openLogin(t, newFakeProvider(t), func(c *edge.Config) { c.HTTP.CORS.Origins = []string{"*"} })
	b := g.browser()
	g.login(b)
	token := b.csrf()
	const chat = `{"model":"small","messages":[{"role":"user","content":"Hi"}]}`
	for name, c := range map[string]struct {
		method, path, body string
		pairs              []string
		status             int
	}{
		"reading":                     {"GET", "/v1/models", "", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		"reading, by origin":          {"GET", "/v1/models", "", []string{"Origin", g.url}, 200},
		"reading from nowhere":        {"GET", "/v1/models", "", nil, 403},
		"reading from elsewhere":      {"GET", "/v1/models", "", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"reading from beside":         {"GET", "/v1/models", "", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"reading by the address bar":  {"GET", "/v1/models", "", []string{"Sec-Fetch-Site", "none"}, 403},
		"reading, another origin":     {"GET", "/v1/models", "", []string{"Origin", "https://evil.example"}, 403},
		"reading, both, one wrong":    {"GET", "/v1/models", "", []string{"Sec-Fetch-Site", "same-origin", "Origin", "https://evil.example"}, 403},
		"changing":                    {"POST", "/v1/chat/completions", chat, []string{"Sec-Fetch-Site", "same-origin", "X-CSRF-Token", token}, 200},
		"changing without the token":  {"POST", "/v1/chat/completions", chat, []string{"Sec-Fetch-Site", "same-origin"}, 403},
		"changing, another token":     {"POST", "/v1/chat/completions", chat, []string{"Sec-Fetch-Site", "same-origin", "X-CSRF-Token", token[1:] + "A"}, 403},
		"changing from elsewhere":     {"POST", "/v1/chat/completions", chat, []string{"Sec-Fetch-Site", "cross-site", "X-CSRF-Token", token}, 403},
		"with a header, which wins":   {"GET", "/v1/models", "", []string{"Sec-Fetch-Site", "same-origin", "Authorization", "Bearer nonsense"}, 401},
		"with a header that is empty": {"GET", "/v1/models", "", []string{"Sec-Fetch-Site", "same-origin", "Authorization", ""}, 401},
		"what the role may not":       {"GET", "/v1/admin/api-keys", "", []string{"Sec-Fetch-Site", "same-origin"}, 403},
	} {
		pairs := append([]string{"Content-Type", "application/json"}, c.pairs...)
		if a := b.send(c.method, c.path, c.body, pairs...); a.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, a.status, c.status, a.text)
		} else if a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: other origins may send credentials", name)
		}
	}
	if a := g.do("GET", "/v1/models", "", "Cookie", "poterne-session="+b.cookies()["poterne-session"]); a.status != http.StatusOK {
		t.Errorf("a key beside the cookie: status %d", a.status)
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", "", "Sec-Fetch-Site", "same-origin", "Cookie", "poterne-session="+strings.Repeat("A", 43)); a.status != http.StatusUnauthorized {
		t.Errorf("an invented cookie: status %d", a.status)
	}
}

func TestLogout(t *testing.T) {
	g := openLogin(t, newFakeProvider(t), nil)
	b := g.browser()
	g.login(b)
	stolen := b.cookies()["poterne-session"]
	token := b.csrf()
	for name, a := range map[string]answer{
		"without a token":  b.post("/logout", nil),
		"from elsewhere":   b.send("POST", "/logout", "csrf_token="+token, "Content-Type", "application/x-www-form-urlencoded", "Origin", "https://evil.example"),
		"in another form":  b.send("POST", "/logout", `{}`, "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin"),
		"too much of it":   b.post("/logout", url.Values{"csrf_token": {token}, "x": {strings.Repeat("x", 9000)}}),
		"by what is a GET": b.get("/logout?csrf_token=" + token),
	} {
		if a.status == http.StatusSeeOther {
			t.Errorf("%s: it logs out", name)
		}
	}
	a := b.post("/logout", url.Values{"csrf_token": {token}})
	want := g.provider.URL + "/end?client_id=edge&post_logout_redirect_uri=" + url.QueryEscape(g.url+"/logout")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != want {
		t.Errorf("status %d to %s", a.status, a.header.Get("Location"))
	}
	if b.cookies()["poterne-session"] != "" {
		t.Error("the browser has the cookie still")
	}
	if a := g.do("GET", "/v1/models", "", "Authorization", "", "Sec-Fetch-Site", "same-origin", "Cookie", "poterne-session="+stolen); a.status != http.StatusUnauthorized {
		t.Errorf("the cookie after logging out: status %d", a.status)
	}
	if a := b.get("/logout"); a.status != http.StatusOK || !strings.Contains(a.text, "You are signed out") {
		t.Errorf("status %d, %s", a.status, a.text)
	}
	if a := b.get("/account"); a.status != http.StatusSeeOther || a.header.Get("Location") != g.url+"/login?return_to=/account" {
		t.Errorf("the account: status %d to %s", a.status, a.header.Get("Location"))
	}
}

// TestTwoEdges has two edges on one store; where they are is one public URL.
func TestTwoEdges(t *testing.T) {
	testTwoEdges(t, "sqlite://"+t.TempDir()+"/edge.db")
}

func testTwoEdges(t *testing.T, dsn string) {
	t.Helper()
	p := newFakeProvider(t)
	share := func(c *edge.Config) {
		c.Security.Store, c.Security.Keys.Pepper = sqldb.DefaultConfig(dsn), "what both of the edges know of keys"
	}
	g := openLogin(t, p, share)
	second := openLoginBeside(t, g, share)
	b := g.browser()
	// Begun on the first, completed on the second.
	to := p.consent(b.begin("/login"))
	to.Host = strings.TrimPrefix(second, "http://")
	if a := b.get(to.String()); a.status != http.StatusSeeOther {
		t.Fatalf("status %d, %s", a.status, a.text)
	}
	cookie := "poterne-session=" + b.cookies()["poterne-session"] // names no port, so both edges' here
	ask := func(edge, path string) answer {
		return g.browser().send("GET", edge+path, "", "Sec-Fetch-Site", "same-origin", "Cookie", cookie)
	}
	for _, e := range []string{g.url, second} {
		if a := ask(e, "/v1/sessions"); a.status != http.StatusOK || !strings.Contains(a.text, `"current":true`) {
			t.Fatalf("%s: status %d, %s", e, a.status, a.text)
		}
	}
	if a := g.do("POST", "/v1/admin/sessions:end", `{"tenant":"acme","subject":"ana"}`); a.status != http.StatusOK || a.at("ended") != 1.0 {
		t.Fatalf("status %d, %s", a.status, a.text)
	}
	if a := ask(g.url, "/v1/sessions"); a.status != http.StatusUnauthorized {
		t.Errorf("where it was ended: status %d", a.status)
	}
	deadline := time.Now().Add(10 * time.Second)
	for ask(second, "/v1/sessions").status != http.StatusUnauthorized {
		if time.Now().After(deadline) {
			t.Fatal("the other edge goes on with it")
		}
	}
}

// openLoginBeside starts another edge of the same gateway, and returns where it is.
func openLoginBeside(t *testing.T, g loginGate, change func(*edge.Config)) string {
	t.Helper()
	other := build(t, func(c *edge.Config) {
		c.Security.Limits.Address.RequestsPerMinute = 0
		l := &c.Security.Login
		l.Provider.Issuer, l.Provider.ClientID, l.Provider.ClientSecret = g.provider.URL, "edge", config.Secret(g.provider.secret)
		l.PublicURL = g.url
		change(c)
	})
	other.run()
	server := httptest.NewServer(other.Handler())
	t.Cleanup(server.Close)
	return server.URL
}
