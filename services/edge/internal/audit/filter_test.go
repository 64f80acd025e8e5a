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
	recs[3].Method = "/poterne.edge.v1.APIKeyService/CreateAPIKey"
	if err := sink.Write(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]int{
		`decision = "refused"`: 3, `decision != "refused"`: 1, `tenant = "globex_1"`: 1, `tenant = "globex?1"`: 0, `tenant = "glo*"`: 1,
		`tenant = "globexx1"`: 0, `model = "m"`: 3, `model = "other"`: 1, `served_by = "m@*"`: 3, `findings:"waf/"`: 3, `findings:"%"`: 0,
		`review = true`: 3, `time >= "2026-05-01T12:00:02Z"`: 2, `duration_ms > 1.4`: 4, `duration_ms > 1.6`: 0, `prompt_tokens = 12`: 4,
		`method = "/poterne.edge.v1.APIKeyService/CreateAPIKey"`: 1, `method = "/poterne.edge.v1.OpenAIService/CreateChatCompletion"`: 3,
		`NOT method = "/poterne.edge.v1.APIKeyService/CreateAPIKey"`: 3, `method != "/poterne.edge.v1.APIKeyService/CreateAPIKey"`: 3,
		`method = "/poterne.edge.v1.APIKeyService/*"`: 1, `method = "'"`: 0, `method:*`: 4,
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

// Records of a rare method are found by an index, among however many chats.
func TestMethodsAreInAnIndex(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	f, err := ParseFilter(`method = "/poterne.edge.v1.APIKeyService/CreateAPIKey" AND decision = "allowed"`)
	if err != nil {
		t.Fatal(err)
	}
	if got := plan(t, sink, Query{Filter: f, Limit: 10}); !strings.Contains(got, "USING INDEX edge_audit_method") || strings.Contains(got, "TEMP B-TREE") {
		t.Errorf("the plan is\n%s", got)
	}
}

// A page of one tenant's or one caller's records is read from where it begins; only those
// of one instant are sorted.
func TestPagesAreReadByAnIndex(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	const sorted = "USE TEMP B-TREE FOR LAST TERM OF ORDER BY\n"
	before := Position{TimeMicros: 5, ID: "x"}
	for want, q := range map[string]Query{
		"SEARCH edge_audit USING INDEX edge_audit_tenant (tenant=?)\n" + sorted:                 {Tenant: "acme", Limit: 10},
		"SEARCH edge_audit USING INDEX edge_audit_tenant (tenant=? AND time_us<?)\n" + sorted:   {Tenant: "acme", Limit: 10, Before: before},
		"SEARCH edge_audit USING INDEX edge_audit_tenant (tenant=? AND time_us>?)\n" + sorted:   {Tenant: "acme", Limit: 10, Before: before, Oldest: true},
		"SEARCH edge_audit USING INDEX edge_audit_subject (subject=? AND time_us<?)\n" + sorted: {Tenant: "acme", Subject: "ada", Limit: 10, Before: before},
		"SEARCH edge_audit USING INDEX sqlite_autoindex_edge_audit_1 ((time_us,id)<(?,?))\n":    {Limit: 10, Before: before},
	} {
		if got := plan(t, sink, q); got != want {
			t.Errorf("%+v: the plan is\n%s, not\n%s", q, got, want)
		}
	}
}

// plan is how SQLite answers a query.
func plan(t *testing.T, sink *SQLSink, q Query) string {
	t.Helper()
	query, args := selectStatement(q)
	rows, err := sink.read.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out strings.Builder
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		out.WriteString(step + "\n")
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out.String()
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
