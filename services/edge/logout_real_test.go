//go:build real

package edge_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/edge"
)

// Somebody logs out at a real provider, and not here: it ends the session of that
// login, on every edge within a second, and no other's.
func TestRealProviderEndsSessions(t *testing.T) {
	dsn := testkit.Postgres(t).DSN
	share := func(c *edge.Config) {
		c.Security.Store, c.Security.Keys.Pepper = sqldb.DefaultConfig(dsn), "what both of the edges know of keys"
	}
	l := openRealLogin(t, share)
	second := openLoginBeside(t, loginGate{gate: l.gate, provider: &fakeProvider{Server: l.proxy.Server, secret: realSecret}}, func(c *edge.Config) {
		share(c)
		c.Security.Login.Provider.ClientID, c.Security.Login.Provider.ClientSecret = realClient, config.Secret(realSecret)
	})
	ask := func(edge string, b *browser) int {
		t.Helper()
		return l.browser().send("GET", edge+"/v1/models", "", "Sec-Fetch-Site", "same-origin", "Cookie", "poterne-session="+b.cookies()["poterne-session"]).status
	}
	phone, laptop := l.browser(), l.browser()
	for _, b := range []*browser{phone, laptop} {
		if a := b.get(l.back(b, "ana")); a.status != http.StatusSeeOther {
			t.Fatalf("status %d, %s", a.status, a.text)
		}
		for _, e := range []string{l.url, second} {
			if got := ask(e, b); got != http.StatusOK {
				t.Fatalf("%s: status %d", e, got)
			}
		}
	}
	// The provider's own page of logging out, begun by another application.
	end := l.proxy.URL + "/session/end?client_id=wiki&post_logout_redirect_uri=" + l.url + "/wiki"
	if to := l.walk(phone, end, ""); !strings.HasPrefix(to, l.url+"/wiki") {
		t.Fatalf("from the provider to %s", to)
	}
	over := time.Now()
	for _, e := range []string{l.url, second} {
		for ask(e, phone) != http.StatusUnauthorized {
			if time.Since(over) > time.Second {
				t.Fatalf("%s goes on with it after %v", e, time.Since(over))
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	t.Logf("seen by both edges after %v", time.Since(over))
	for _, e := range []string{l.url, second} {
		if got := ask(e, laptop); got != http.StatusOK {
			t.Errorf("%s: the other login: status %d", e, got)
		}
	}
	trail := l.do("GET", "/v1/admin/audit?page_size=100", "")
	if !strings.Contains(trail.text, `/poterne.edge.v1.Login/LogoutByProvider`) {
		t.Errorf("no record of it: %s", trail.text)
	}
	// Logging out here has the provider tell us what we know already.
	a := laptop.post("/logout", map[string][]string{"csrf_token": {laptop.csrf()}})
	if back := l.walk(laptop, a.header.Get("Location"), ""); !strings.HasPrefix(back, l.url+"/logout") || ask(l.url, laptop) != http.StatusUnauthorized {
		t.Errorf("from the provider to %s", back)
	}
}
