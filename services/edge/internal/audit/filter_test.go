package audit

import (
	"strings"
	"testing"
)

func checkFilters(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	recs := samples(4)
	recs[1].Decision, recs[1].Tenant, recs[1].Findings, recs[1].Review = Allowed, "globex_1", nil, false
	recs[2].ServedBy, recs[2].Resource = "other@v1 q4", "model/%"
	if err := sink.Write(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]int{
		`decision = "refused"`: 3, `decision != "refused"`: 1, `tenant = "globex_1"`: 1, `tenant = "globex?1"`: 0, `tenant = "glo*"`: 1,
		`tenant = "globexx1"`: 0, `model = "m"`: 3, `model = "other"`: 1, `served_by = "m@*"`: 3, `findings:"waf/"`: 3, `findings:"%"`: 0,
		`review = true`: 3, `time >= "2026-05-01T12:00:02Z"`: 2, `duration_ms > 1.4`: 4, `duration_ms > 1.6`: 0, `prompt_tokens = 12`: 4,
		`documents:"c/d"`: 4, `NOT decision = "refused"`: 1, `tenant = "acme" AND (review = true OR policy = "x")`: 3, `policy:*`: 4,
		`method = "/poterne.edge.v1.OpenAIService/*" AND subject = "ada'; DROP TABLE edge_audit; --"`: 0, `resource = "model/%"`: 1,
	} {
		f, err := ParseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		got, err := sink.List(t.Context(), Query{Filter: f, Limit: 10})
		if err != nil || len(got) != want {
			t.Errorf("%s: %d records, want %d; %v", filter, len(got), want, err)
		}
	}
	for _, filter := range []string{`decision`, `foo = 1`, `time > 3`, `review = maybe`, `has(x)`, `tenant = "`, strings.Repeat("(", 40), "decision = \"\xff\""} {
		if _, err := ParseFilter(filter); err == nil {
			t.Errorf("%q is taken", filter)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add(`decision = "refused" AND (time > "2026-05-01T12:00:00Z" OR NOT findings:"waf")`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFilter(text)
		if err == nil && strings.Count(got.sql, "$") != len(got.args) {
			t.Fatalf("%q has %d arguments", got.sql, len(got.args))
		}
	})
}
