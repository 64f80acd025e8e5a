package authz

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/internal/obligation"
)

// TestConditionsOnFacts asks everything twice: what was remembered of a question
// must not answer another.
func TestConditionsOnFacts(t *testing.T) {
	day := time.Date(2026, 11, 26, 9, 30, 0, 0, time.UTC) // a Thursday
	for name, c := range map[string]struct {
		condition string
		good, bad Facts
		about     [2]About
	}{
		"an address":       {"in_network(address, '10.0.0.0/8')", Facts{Address: netip.MustParseAddr("10.1.2.3")}, Facts{Address: netip.MustParseAddr("192.0.2.1")}, [2]About{}},
		"a mapped address": {"in_network(address, '10.0.0.0/8')", Facts{Address: netip.MustParseAddr("::ffff:10.1.2.3")}, Facts{}, [2]About{}},
		"IPv6":             {"in_network(address, '2001:db8::/32')", Facts{Address: netip.MustParseAddr("2001:db8::1")}, Facts{Address: netip.MustParseAddr("10.0.0.1")}, [2]About{}},
		"an hour":          {"hour >= 8 && hour < 18", Facts{Now: day}, Facts{Now: day.Add(12 * time.Hour)}, [2]About{}},
		"a weekday":        {"!(weekday in ['saturday', 'sunday'])", Facts{Now: day}, Facts{Now: day.AddDate(0, 0, 2)}, [2]About{}},
		"a time zone":      {"hour == 9", Facts{Now: day.In(time.FixedZone("x", 7200))}, Facts{Now: day.Add(time.Hour)}, [2]About{}},
		"a date":           {"now < timestamp('2026-12-01T00:00:00Z')", Facts{Now: day}, Facts{Now: day.AddDate(0, 1, 0)}, [2]About{}},
		"mtls":             {"mtls", Facts{MTLS: true}, Facts{}, [2]About{}},
		"bound":            {"bound", Facts{Bound: true}, Facts{MTLS: true}, [2]About{}},
		"a fresh token":    {"token_age < duration('5m')", Facts{Now: day, IssueTime: day.Add(-time.Minute)}, Facts{Now: day, IssueTime: day.Add(-time.Hour)}, [2]About{}},
		"an unknown age":   {"token_age < duration('5m')", Facts{Now: day, IssueTime: day}, Facts{Now: day}, [2]About{}},
		"a claim":          {"claims.department == 'law'", Facts{Claims: map[string]any{"department": "law"}}, Facts{Claims: map[string]any{"department": "sales"}}, [2]About{}},
		"no claims":        {"has(claims.department) && claims.department == 'law'", Facts{Claims: map[string]any{"department": "law"}}, Facts{}, [2]About{}},
		"a claim's list":   {"'x' in claims.aud", Facts{Claims: map[string]any{"aud": []any{"x"}}}, Facts{}, [2]About{}},
		"tokens":           {"requested_tokens > 0 && requested_tokens <= 100", Facts{}, Facts{}, [2]About{{RequestedTokens: 100}, {RequestedTokens: 101}}},
		"a reference":      {"model_reference in ['', 'prod']", Facts{}, Facts{}, [2]About{{Reference: "prod"}, {Reference: "v3"}}},
	} {
		a := open(t, "p, role:guest, own, model, *, chat, \""+c.condition+"\", allow\n")
		caller := callerWith("acme", "guest")
		for range 2 {
			for i, f := range []Facts{c.good, c.bad, c.good} {
				a.AskFacts(func(context.Context) Facts { return f })
				d := a.decide(t.Context(), a.Current(), ask{caller: caller, action: "chat", res: Resource{"model", "m", "acme"}, about: c.about[i%2]})
				if d.Allowed != (i != 1) {
					t.Errorf("%s: turn %d: %+v", name, i, d)
				}
			}
		}
	}
}

// TestOneExpensiveCondition: what would take too long is refused.
func TestExpensiveCondition(t *testing.T) {
	a := open(t, "p, role:guest, own, model, *, chat, \"principals.all(a, principals.all(b, principals.all(c, principals.all(d, a + b + c + d != ''))))\", allow\n")
	caller := callerWith("acme", "guest")
	for i := range 40 {
		caller.Principals = append(caller.Principals, "group:"+string(rune('a'+i)))
	}
	d := a.decide(t.Context(), a.Current(), ask{caller: caller, action: "chat", res: Resource{"model", "m", "acme"}})
	if d.Allowed || d.Failure == nil {
		t.Fatalf("%+v", d)
	}
}

func TestObligationsAddUp(t *testing.T) {
	a := open(t, `
p, public, own, model, *, chat, true, allow, max_tokens=500 review
p, group:interns, own, model, *, chat, true, allow, max_tokens=100 redact
p, group:guests, own, model, *, chat, true, allow, model=tiny
p, group:others, own, model, *, chat, true, allow, model=small
`)
	with := func(groups ...string) Decision {
		c := callerWith("acme", "reader")
		for _, g := range groups {
			c.Principals = append(c.Principals, "group:"+g)
		}
		return a.decide(t.Context(), a.Current(), ask{caller: c, action: "chat", res: Resource{"model", "m", "acme"}})
	}
	if d := with(); !d.Allowed || d.Obligations != (obligation.Set{MaxTokens: 500, Review: true}) {
		t.Errorf("%+v", d)
	}
	if d := with("interns", "guests"); d.Obligations != (obligation.Set{MaxTokens: 100, Review: true, Redact: true, Model: "tiny"}) {
		t.Errorf("%+v", d)
	}
	if d := with("guests", "others"); d.Allowed || d.Failure == nil {
		t.Errorf("two models at once: %+v", d)
	}
}
