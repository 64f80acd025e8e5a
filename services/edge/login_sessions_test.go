package edge_test

import (
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge"
)

// sessions are the ids in an answer's list.
func sessions(t *testing.T, a answer) (ids []string) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("status %d, %s", a.status, a.text)
	}
	list, _ := a.at("sessions").([]any)
	for _, s := range list {
		m, _ := s.(map[string]any)
		id, _ := m["id"].(string)
		ids = append(ids, id)
	}
	return ids
}

func TestSessionsOfOthers(t *testing.T) {
	p := newFakeProvider(t)
	g := openLogin(t, p, nil)
	log := func(tenant, subject, role string) *browser {
		t.Helper()
		p.change(func() { p.claims = map[string]any{"tenant": tenant, "sub": subject, "roles": []string{role}} })
		b := g.browser()
		if a := g.login(b); a.status != http.StatusSeeOther {
			t.Fatalf("status %d, %s", a.status, a.text)
		}
		return b
	}
	ana, bob, eve, root := log("acme", "ana", "admin"), log("acme", "bob", "reader"), log("globex", "eve", "admin"), log("acme", "none", "Nobody")
	own := func(b *browser) string {
		t.Helper()
		a := b.send("GET", "/v1/sessions", "", "Sec-Fetch-Site", "same-origin")
		_, after, _ := strings.Cut(a.text, `"id":"`)
		id, _, _ := strings.Cut(after, `"`)
		if a.status != http.StatusOK || strings.Count(a.text, `"id"`) != 1 || !strings.Contains(a.text, `"current":true`) || len(id) != 20 {
			t.Fatalf("status %d, %s", a.status, a.text)
		}
		return id
	}
	anas, bobs, eves := own(ana), own(bob), own(eve)
	call := func(b *browser, method, path, body string) answer {
		t.Helper()
		return b.send(method, path, body, "Content-Type", "application/json", "Sec-Fetch-Site", "same-origin", "X-CSRF-Token", b.csrf())
	}
	for name, c := range map[string]struct {
		by                 *browser
		method, path, body string
		status             int
	}{
		"a reader lists":                       {bob, "GET", "/v1/admin/sessions", "", 403},
		"a reader ends":                        {bob, "DELETE", "/v1/admin/sessions/" + anas, "", 403},
		"somebody else's as one's own":         {bob, "DELETE", "/v1/sessions/" + anas, "", 404},
		"another tenant's as one's own":        {eve, "DELETE", "/v1/sessions/" + anas, "", 404},
		"another tenant's":                     {eve, "DELETE", "/v1/admin/sessions/" + anas, "", 404},
		"none":                                 {eve, "DELETE", "/v1/admin/sessions/" + strings.Repeat("0", 20), "", 404},
		"rubbish":                              {eve, "DELETE", "/v1/admin/sessions/%27%20OR%201", "", 404},
		"another tenant's list":                {eve, "GET", "/v1/admin/sessions?tenant=acme", "", 403},
		"another tenant's subject":             {eve, "POST", "/v1/admin/sessions:end", `{"tenant":"acme","subject":"ana"}`, 403},
		"nobody's subject":                     {eve, "POST", "/v1/admin/sessions:end", `{}`, 400},
		"a page token of one's own":            {eve, "GET", "/v1/admin/sessions?page_token=x", "", 400},
		"a field that is none":                 {eve, "POST", "/v1/sessions:end", `{"keep":"all"}`, 400},
		"somebody without a role lists theirs": {root, "GET", "/v1/sessions", "", 200},
		"somebody without a role asks":         {root, "GET", "/v1/models", "", 403},
	} {
		if a := call(c.by, c.method, c.path, c.body); a.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, a.status, c.status, a.text)
		}
	}
	if a := call(ana, "GET", "/v1/admin/sessions", ""); strings.Contains(a.text, eves) || !strings.Contains(a.text, bobs) || strings.Contains(a.text, "globex") {
		t.Errorf("ana sees %s", a.text)
	}
	if all := sessions(t, g.do("GET", "/v1/admin/sessions", "")); len(all) != 4 {
		t.Errorf("the platform sees %v", all)
	}
	first := g.do("GET", "/v1/admin/sessions?page_size=3", "")
	next, _ := first.at("next_page_token").(string)
	if second := sessions(t, g.do("GET", "/v1/admin/sessions?page_size=3&page_token="+next, "")); len(sessions(t, first)) != 3 || len(second) != 1 {
		t.Errorf("pages: %s, then %v", first.text, second)
	}
	if a := call(ana, "DELETE", "/v1/admin/sessions/"+bobs, ""); a.status != http.StatusOK {
		t.Errorf("status %d, %s", a.status, a.text)
	}
	if a := bob.send("GET", "/v1/models", "", "Sec-Fetch-Site", "same-origin"); a.status != http.StatusUnauthorized {
		t.Errorf("bob goes on: status %d", a.status)
	}
	if a := call(eve, "GET", "/v1/admin/sessions?subject=eve", ""); !strings.Contains(a.text, eves) {
		t.Errorf("eve sees %s", a.text)
	}
}

func TestOwnSessionsOnThePage(t *testing.T) {
	g := openLogin(t, newFakeProvider(t), func(c *edge.Config) { c.Security.Login.Session.MaxPerSubject = 3 })
	here, there := g.browser(), g.browser()
	g.login(here)
	g.login(there)
	works := func(b *browser) bool {
		return b.send("GET", "/v1/models", "", "Sec-Fetch-Site", "same-origin").status == http.StatusOK
	}
	page := here.get("/account")
	token := here.csrf()
	_, after, _ := strings.Cut(page.text, `name="id" value="`)
	id, _, _ := strings.Cut(after, `"`)
	if len(id) != 20 {
		t.Fatalf("no session to end: %s", page.text)
	}
	if a := here.post("/account/sessions", url.Values{"id": {id}}); a.status != http.StatusForbidden || !works(there) {
		t.Errorf("without the token: status %d", a.status)
	}
	if a := here.post("/account/sessions", url.Values{"id": {id}, "csrf_token": {there.csrf()}}); a.status != http.StatusForbidden {
		t.Errorf("with another session's token: status %d", a.status)
	}
	if a := here.post("/account/sessions", url.Values{"id": {id}, "csrf_token": {token}}); a.status != http.StatusSeeOther || works(there) || !works(here) {
		t.Errorf("status %d", a.status)
	}
	g.login(there)
	if a := here.post("/account/sessions", url.Values{"id": {""}, "csrf_token": {token}}); a.status != http.StatusSeeOther || works(there) || !works(here) {
		t.Errorf("all others: status %d", a.status)
	}
	// Logging in again makes a new secret, and the one before ends.
	before := here.cookies()["poterne-session"]
	g.login(here)
	if after := here.cookies()["poterne-session"]; after == before || !works(here) {
		t.Error("the secret stays the same")
	}
	if a := g.browser().send("GET", "/v1/models", "", "Sec-Fetch-Site", "same-origin", "Cookie", "poterne-session="+before); a.status != http.StatusUnauthorized {
		t.Errorf("the secret before: status %d", a.status)
	}
	for range 3 {
		g.login(g.browser())
	}
	if works(here) {
		t.Error("there are more sessions of one person than there may be")
	}
}

func TestSessionsWithoutLogin(t *testing.T) {
	g := open(t, nil)
	if a := g.do("GET", "/v1/sessions", ""); a.status != http.StatusNotImplemented {
		t.Errorf("status %d, %s", a.status, a.text)
	}
	for _, path := range []string{"/login", "/login/callback", "/logout", "/account"} {
		if a := g.do("GET", path, ""); a.status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, a.status)
		}
	}
	if a := g.do("GET", "/docs/", ""); strings.Contains(a.text, "Sign in") {
		t.Error("the pages offer what is not there")
	}
}

// TestNoCookieOverGRPC: a cookie is what browsers add, and they do not call gRPC.
func TestNoCookieOverGRPC(t *testing.T) {
	g := openLogin(t, newFakeProvider(t), nil)
	b := g.browser()
	g.login(b)
	server := grpc.NewServer(grpc.UnaryInterceptor(g.Interceptors().Unary()), grpc.StreamInterceptor(g.Interceptors().Stream()))
	g.RegisterGRPC(server)
	var lc net.ListenConfig
	lis, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(lis) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ctx := metadata.AppendToOutgoingContext(t.Context(), "cookie", "poterne-session="+b.cookies()["poterne-session"], "sec-fetch-site", "same-origin",
		"x-csrf-token", b.csrf())
	_, err = edgev1.NewSessionServiceClient(conn).ListOwnSessions(ctx, &edgev1.ListOwnSessionsRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("it is accepted: %v", err)
	}
}
