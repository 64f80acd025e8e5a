package allinone

import (
	"fmt"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge"
)

const (
	// secretGroup is one that the tenant's policy knows, and who is in it.
	secretGroup = "group9"
	// visitor is who is logged in to the tenant's pages, and banned a network that is.
	visitor = "bobby"
	banned  = "198.51.100.7"

	sessionID = "0123456789abcdef0123"
)

// secured gives the tenant what its administrators have: a service account with a
// key, a policy that is in force and one that is tried, and somebody's session. It
// returns the account's key.
func (a *acme) secured(id string) (accountKey string) {
	g := a.g
	g.must("PATCH", "/v1/admin/api-keys/"+id, g.admin, `{"api_key":{"owner":"`+marker+`"}}`, nil)
	g.must("POST", "/v1/admin/service-accounts", a.owner, `{"service_account":{"id":"robot","display_name":"`+marker+`","description":"`+marker+
		`","owner":"`+marker+`","roles":["reader"],"groups":["`+marker+`"],"collections":["`+marker+`"]}}`, nil)
	var made struct {
		APIKey struct{ ID string } `json:"api_key"`
	}
	g.must("POST", "/v1/admin/api-keys", a.owner, `{"name":"`+marker+`","owner":"`+marker+`","service_account":"robot"}`, &made)

	// The case that is wanted names the same rule as those that others ask about.
	const version = `{"message":"` + marker + `","activate":%t,"document":{"description":"` + marker + `","rules":[
		{"id":"` + marker + `","subject":"group:` + secretGroup + `","type":"model","resource":"acme.private|` + marker + `*","action":"chat","condition":"subject != '` + marker + `'","effect":"deny"}%s],
		"roles":[{"member":"user:` + marker + `","role":"role:reader"}],
		"cases":[{"name":"` + marker + `","caller":{"groups":["` + secretGroup + `"],"roles":["reader"]},"action":"chat","resource":{"type":"model","id":"acme.private"},"expect":"deny"}]}}`
	const more = `,{"id":"more.` + marker + `","subject":"user:alice.` + marker + `","type":"model","action":"embed","effect":"deny"}`
	g.must("POST", "/v1/admin/policies/versions", a.owner, fmt.Sprintf(version, true, ""), nil)
	g.must("POST", "/v1/admin/policies/versions", a.owner, fmt.Sprintf(version, false, more), nil)
	g.must("POST", "/v1/admin/policies:dryRun", a.owner, `{"version":2}`, nil)
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(20 * time.Millisecond) {
		g.must("POST", "/v1/embeddings", a.owner, `{"model":"sim-embedding","input":"x"}`, nil)
		if got, err := g.rest("GET", "/v1/admin/policies:dryRun", a.owner, ""); err == nil && strings.Contains(got.body, marker) {
			break
		} else if err != nil || time.Now().After(deadline) {
			g.t.Fatalf("the dry run: %+v, %v", got, err)
		}
	}
	g.must("POST", "/v1/admin/bans", g.admin, `{"network":"`+banned+`","duration":"3600s","reason":"`+marker+`"}`, nil)
	g.session(sessionID, "acme", visitor)
	return made.APIKey.ID
}

// session is somebody's who has logged in: there is no provider to do so with, so
// it is put where the edge keeps them.
func (g *gate) session(id, tenant, subject string) {
	g.t.Helper()
	db, err := sqldb.Open(g.t.Context(), g.store)
	if err != nil {
		g.t.Fatal(err)
	}
	defer db.Close()
	now := time.Now()
	if _, err = db.ExecContext(g.t.Context(), `INSERT INTO edge_sessions (id, hash, issuer, tenant, subject, roles, member_of, agent, address,
		create_time, last_use_time, expire_time, end_time, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, 0, 1)`,
		id, id, provider, tenant, subject, `["reader"]`, `["`+marker+`"]`, marker, "192.0.2.1", now.UnixMicro(), now.Add(time.Hour).UnixMicro()); err != nil {
		g.t.Fatal(err)
	}
}

// provider is where nobody logs in.
const provider = "http://127.0.0.1:9"

// withSessions has the edge know sessions, which it does where people can log in.
func withSessions(c *edge.Config) {
	c.Security.Login.Provider.Issuer, c.Security.Login.Provider.ClientID = provider, "edge"
	c.Security.Login.Provider.ClientSecret = config.Secret("none is needed")
	c.Security.Login.PublicURL = "http://127.0.0.1:8080"
}

// lastRequest is a request's id that the tenant made.
func (a *acme) lastRequest() string {
	a.g.t.Helper()
	var trail struct {
		Records []struct {
			RequestID string `json:"request_id"`
		}
	}
	a.g.must("GET", "/v1/admin/audit?page_size=1", a.owner, "", &trail)
	if len(trail.Records) != 1 {
		a.g.t.Fatalf("%+v", trail)
	}
	return trail.Records[0].RequestID
}

// checkPlatform holds that what is the platform's is answered to its
// administrator, and is about what is there.
func (g *gate) checkPlatform() {
	g.t.Helper()
	var bans struct {
		Bans []struct{ Network, Reason string }
	}
	g.must("GET", "/v1/admin/bans", g.admin, "", &bans)
	if len(bans.Bans) != 1 || bans.Bans[0].Network != banned || bans.Bans[0].Reason != marker {
		g.t.Errorf("the bans are %+v", bans)
	}
	g.must("POST", "/v1/admin/bans:lift", g.admin, `{"network":"`+banned+`"}`, nil)
	var report struct{ Intact bool }
	if g.must("POST", "/v1/admin/audit:verify", g.admin, `{}`, &report); !report.Intact {
		g.t.Error("the trail is not intact")
	}
	var keys struct{ Keys []struct{ Key string } }
	if g.must("GET", "/v1/admin/audit/keys", g.admin, "", &keys); len(keys.Keys) == 0 {
		g.t.Error("the trail has no key")
	}
}
