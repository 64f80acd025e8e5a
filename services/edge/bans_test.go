package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/ruleset"
)

func TestBannedAddress(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Security.Limits.TrustedProxies = []string{"127.0.0.1/32"}
		c.Security.Abuse.Bans.Threshold = 3
	})
	for range 4 {
		g.do("GET", "/v1/models", "", "Authorization", "Bearer wrong", "X-Forwarded-For", "192.0.2.7")
	}
	a := g.do("GET", "/v1/models", "", "X-Forwarded-For", "192.0.2.7")
	if a.status != http.StatusForbidden || a.header.Get("Retry-After") == "" {
		t.Fatalf("the right key of a banned address: %d %v %s", a.status, a.header, a.text)
	}
	// Behind it nobody else is, the proxy itself neither.
	for _, who := range []string{"192.0.2.8", "127.0.0.1, 192.0.2.9", ""} {
		if a := g.do("GET", "/v1/models", "", "X-Forwarded-For", who); a.status != http.StatusOK {
			t.Errorf("%q: %d %s", who, a.status, a.text)
		}
	}
	a = g.do("GET", "/v1/admin/bans", "")
	if a.status != http.StatusOK || !strings.Contains(a.text, `"192.0.2.7"`) || !strings.Contains(a.text, `"credentials"`) {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.do("POST", "/v1/admin/bans:lift", `{"network":"192.0.2.7"}`); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/models", "", "X-Forwarded-For", "192.0.2.7"); a.status != http.StatusOK {
		t.Errorf("after it is lifted: %d %s", a.status, a.text)
	}
	a = g.do("POST", "/v1/admin/bans", `{"network":"198.51.100.0/24","duration":"3600s","reason":"scans"}`)
	if a.status != http.StatusOK || a.at("ban", "by") == "" {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := g.do("GET", "/v1/models", "", "X-Forwarded-For", "198.51.100.77"); a.status != http.StatusForbidden {
		t.Errorf("in a banned network: %d", a.status)
	}
	for _, body := range []string{`{"network":"127.0.0.1","duration":"1s","reason":"x"}`, `{"network":"192.0.2.1","reason":"x"}`, `{"network":"192.0.2.1","duration":"1s"}`} {
		if a := g.do("POST", "/v1/admin/bans", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", body, a.status, a.text)
		}
	}
}

// An address that the firewall refuses again and again is banned.
func TestFirewallBans(t *testing.T) {
	g := open(t, func(c *edge.Config) {
		c.Security.Limits.TrustedProxies = []string{"127.0.0.1/32"}
		c.Security.Firewall.Mode = firewall.Block
		c.Security.Abuse.Bans.Threshold = 10
	}, edge.WithFirewall(ruleset.Open))
	for range 3 {
		g.do("POST", "/v1/collections/c:search", sqlSearch, "X-Forwarded-For", "192.0.2.7")
	}
	if a := g.do("GET", "/v1/models", "", "X-Forwarded-For", "192.0.2.7"); a.status != http.StatusForbidden || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.text)
	}
}
