package edge_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge"
)

// What tells of every model is not for a key with models, and the trail, which tells
// of collections too, not for one with collections.
func TestNarrowedKeysDoNotSeeTheRest(t *testing.T) {
	g := open(t, nil)
	wide, _ := g.newKey(`{"name":"wide","roles":["admin"]}`)
	models, _ := g.newKey(`{"name":"models","roles":["admin"],"models":["small"]}`)
	collections, _ := g.newKey(`{"name":"collections","roles":["admin"],"collections":["kb"]}`)
	for _, tt := range []struct {
		path                     string
		wide, models, collection int
	}{
		{"/v1/admin/workers", 501, 403, 501}, // the fake has none
		{"/v1/admin/audit", 200, 403, 403},
		{"/v1/admin/api-keys", 200, 200, 200},
	} {
		for i, key := range [][]string{wide, models, collections} {
			want := []int{tt.wide, tt.models, tt.collection}[i]
			if a := g.do("GET", tt.path, "", key...); a.status != want {
				t.Errorf("%s by key %d: %d, want %d: %.300s", tt.path, i, a.status, want, a.text)
			}
		}
	}
}

// A refusal that is answered as what is not there is in the trail as a refusal.
func TestHiddenRefusalsAreInTheTrail(t *testing.T) {
	g := open(t, nil)
	key, id := g.newKey(`{"name":"x","roles":["admin"],"models":["other"],"collections":["nothing"]}`)
	for _, path := range []string{"/v1/models/small", "/v1/collections/kb"} {
		if a := g.do("GET", path, "", key...); a.status != 404 {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
	records, _ := g.do("GET", "/v1/admin/audit?page_size=100", "").at("records").([]any)
	refused := 0
	for _, r := range records {
		if at(r, "key_id") == id && at(r, "decision") == "refused" {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d refusals in %v", refused, records)
	}
}

// A field mask has fields' names as they are written everywhere else, or as protojson
// writes them.
func TestBothSpellingsOfUpdateMasks(t *testing.T) {
	g := open(t, nil)
	_, id := g.newKey(`{"name":"x","roles":["reader"]}`)
	path := "/v1/admin/api-keys/" + id
	g.do("POST", "/v1/admin/service-accounts", `{"service_account":{"id":"ci","roles":["reader"]}}`)
	for body, want := range map[string]int{
		`{"api_key":{"expire_time":"2100-01-01T00:00:00Z"},"update_mask":"expire_time"}`:            200,
		`{"api_key":{"expireTime":"2100-01-02T00:00:00Z"},"updateMask":"expireTime"}`:               200,
		`{"api_key":{"requests_per_minute":5,"name":"y"},"update_mask":"requests_per_minute,name"}`: 200,
		`{"api_key":{"requests_per_minute":6,"name":"y"},"update_mask":"name,requestsPerMinute"}`:   200,
		`{"api_key":{},"update_mask":"expire\u005ftime"}`:                                           200,
		`{"api_key":{},"update_mask":"expire__time"}`:                                               400,
		`{"api_key":{},"update_mask":"expire_"}`:                                                    400,
		`{"api_key":{},"update_mask":"expire_Time"}`:                                                400,
		`{"api_key":{},"update_mask":"_expire_time"}`:                                               400,
		`{"api_key":{},"update_mask":["expire_time"]}`:                                              400,
		`{"api_key":{},"update_mask":{"paths":["expire_time"]}}`:                                    400,
	} {
		if a := g.do("PATCH", path, body); a.status != want {
			t.Errorf("%s: %d, want %d: %s", body, a.status, want, a.text)
		}
	}
	for _, mask := range []string{"display_name", "displayName"} {
		a := g.do("PATCH", "/v1/admin/service-accounts/ci", `{"service_account":{"display_name":"`+mask+`"},"update_mask":"`+mask+`"}`)
		if a.status != 200 || a.at("display_name") != mask {
			t.Errorf("%s: %d %s", mask, a.status, a.text)
		}
	}
}

// A token for others says what its key is narrowed to; one for the gateway need not.
func TestTokensForOthersSayWhatTheirKeyIsFor(t *testing.T) {
	g := open(t, func(c *edge.Config) { c.Security.Tokens.Issue.OtherAudiences = []string{"ledger"} })
	a := g.do("POST", "/v1/admin/api-keys", `{"name":"x","tenant":"acme","subject":"svc","roles":["admin"],"models":["small","sm*"],"collections":["kb"],
		"networks":["127.0.0.0/8","2001:db8::/32"],"scopes":["model:*"]}`)
	secret, _ := a.at("key").(string)
	id, _ := a.at("api_key", "id").(string)
	ask := func(audience ...string) answer {
		pairs := []string{"grant_type", "client_credentials", "client_id", id, "client_secret", secret}
		for _, s := range audience {
			pairs = append(pairs, "audience", s)
		}
		return g.ask(form(pairs...))
	}
	for name, audiences := range map[string][]string{"for us": {"poterne"}, "for nobody": nil, "for another": {"ledger"}, "for both": {"poterne", "ledger"}} {
		token, _ := ask(audiences...).at("access_token").(string)
		if token == "" {
			t.Fatalf("%s: no token", name)
		}
		c := payload(t, token)
		if !slices.Contains(audiences, "ledger") {
			if c["models"] != nil || c["collections"] != nil || c["networks"] != nil {
				t.Errorf("%s: it says %v", name, c)
			}
			continue
		}
		if at(c, "models", 0) != "sm*" || at(c, "collections", 0) != "kb" || at(c, "networks", 1) != "2001:db8::/32" || c["scope"] != "model:*" {
			t.Errorf("%s: it says %v", name, c)
		}
	}
	// What would not fit into a token is not left out.
	long := make([]string, 64)
	for i := range long {
		long[i] = strings.Repeat("m", 120) + string(rune('a'+i%26)) + string(rune('a'+i/26))
	}
	a = g.do("POST", "/v1/admin/api-keys", `{"name":"x","tenant":"acme","subject":"svc","roles":["admin"],"models":["`+strings.Join(long, `","`)+`"]}`)
	secret, _ = a.at("key").(string)
	id, _ = a.at("api_key", "id").(string)
	if a := ask("ledger"); a.status != 400 || a.at("error") != "invalid_target" {
		t.Errorf("lists too long: %d %s", a.status, a.text)
	}
	if a := ask(); a.status != 200 {
		t.Errorf("for us: %d %s", a.status, a.text)
	}
}
