package schema

import (
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/sqldb"
)

func TestSQLiteMigrations(t *testing.T) { testMigrations(t, "sqlite://"+t.TempDir()+"/edge.db") }

// seed is a row of each table that keys, tokens and sessions are in, as they are now.
func seed() []string {
	return []string{
		`INSERT INTO edge_api_keys (id, name, tenant, subject, roles, member_of, hash, create_time, expire_time, revoke_time, requests_per_minute, revision, service_account)
			VALUES ('plain', 'ci', 'acme', 'ada', '["reader"]', '["ops"]', 'h1', 5, 0, 0, 60, 7, ''), ('account', 'ci', 'acme', 'ci', '[]', '[]', 'h2', 5, 0, 0, 0, 8, 'ci')`,
		`INSERT INTO edge_api_keys (id, name, tenant, subject, roles, member_of, hash, create_time, expire_time, revoke_time, requests_per_minute, revision, models, pepper, previous_hash)
			VALUES ('narrow', 'ci', 'acme', 'ada', '["admin"]', '[]', 'h3', 5, 0, 0, 60, 9, '["small"]', 'p', 'h4')`,
		`INSERT INTO edge_api_key_uses (id, last_time) VALUES ('plain', 6)`,
		`INSERT INTO edge_api_key_peppers (check_value, create_time) VALUES ('p', 5)`,
		`INSERT INTO edge_service_accounts (tenant, id, display_name, description, roles, member_of, scopes, models, collections, networks, owner, creator, disabled, create_time, update_time, revision)
			VALUES ('acme', 'ci', 'CI', '', '["reader"]', '[]', '[]', '["small"]', '[]', '[]', 'team', 'ada', 1, 5, 5, 10)`,
		`INSERT INTO edge_token_keys (id, public_key, private_key, create_time, sign_from, sign_until, publish_until) VALUES ('ptn-1', '{}', 'x:y', 5, 5, 6, 7)`,
		`INSERT INTO edge_sessions (id, hash, issuer, tenant, subject, roles, member_of, agent, address, create_time, last_use_time, expire_time, end_time, revision, provider_subject, provider_session)
			VALUES ('s1', 'h', 'https://id.example', 'acme', 'ana', '["reader"]', '["ops"]', 'Firefox', '192.0.2.7', 5, 6, 7, 0, 3, 'ana', 'login-1')`,
		`INSERT INTO edge_logout_tokens (id, refuse_until) VALUES ('t', 9)`,
	}
}

// testMigrations takes every migration back and there again, with rows in the tables:
// what a table before had stays.
func testMigrations(t *testing.T, dsn string) {
	t.Helper()
	db, err := Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	dialect := goose.DialectSQLite3
	if db.Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, db.DB, os.DirFS("migrations"), goose.WithDisableGlobalRegistry(true), goose.WithTableName(table))
	if err != nil {
		t.Fatal(err)
	}
	read := func(query string) string {
		t.Helper()
		var out string
		if err := db.QueryRowContext(t.Context(), query).Scan(&out); err != nil {
			return err.Error()
		}
		return out
	}
	// after is what holds when the migration of that version has been taken back.
	after := map[int64]map[string]string{
		39: {`SELECT id FROM edge_files`: "here", `SELECT files + bytes FROM edge_file_totals`: "6"},
		35: {`SELECT n FROM edge_usage_turn`: "8"},
		32: {`SELECT id || turns || summarized || body FROM edge_conversations`: `talk31{"turns":[]}`},
		// What no model worked on ends with the columns that say so; what one did stays.
		29: {
			`SELECT MIN(id) || COUNT(*) FROM edge_usage`:                      "e1",
			`SELECT input + cached + output + cost FROM edge_usage`:           "20",
			`SELECT requests + input + cached + output FROM edge_usage_hours`: "18",
			`SELECT requests + input + output FROM edge_usage_days`:           "16",
		},
		24: {`SELECT requests + input + cached + output + cost FROM edge_usage_days`: "21", `SELECT n FROM edge_usage_turn`: "8"},
		21: {
			`SELECT id || rates FROM edge_budgets, edge_prices`: `monthly{"input":150000}`,
			`SELECT revision FROM edge_usage_revision`:          "3",
		},
		20: {`SELECT tenant || name || rule FROM edge_limits`: `acmefew{"name":"few"}`, `SELECT revision FROM edge_limits_revision`: "4"},
		19: {`SELECT COUNT(*) FROM edge_sessions`: "1"},
		22: {`SELECT subject || agent || roles FROM edge_sessions`: `anaFirefox["reader"]`},
		17: {`SELECT id FROM edge_token_keys`: "ptn-1"},
		16: {`SELECT models FROM edge_service_accounts`: `["small"]`},
		11: {`SELECT models FROM edge_api_keys WHERE id = 'narrow'`: `["small"]`},
		10: {
			`SELECT name || subject || roles || member_of || hash FROM edge_api_keys WHERE id = 'plain'`:             `ciada["reader"]["ops"]h1`,
			`SELECT requests_per_minute + revision FROM edge_api_keys WHERE id = 'plain'`:                            "67",
			`SELECT COUNT(*) FROM edge_api_keys WHERE revoke_time = 0`:                                               "1",
			`SELECT COUNT(*) FROM edge_api_keys WHERE id IN ('narrow', 'account') AND revoke_time = create_time + 1`: "2",
		},
	}
	// again is what holds when the migration of that version has been done once more, on
	// rows that know nothing of it.
	again := map[int64]map[string]string{
		30: {`SELECT COUNT(*) FROM edge_conversations`: "0"},
		29: {
			`SELECT hit + saved_input + saved_output FROM edge_usage WHERE id = 'e'`: "0",
			`SELECT hits + saved_input + saved_output FROM edge_usage_hours`:         "0",
			`SELECT hits + saved_input + saved_output FROM edge_usage_days`:          "0",
			`SELECT input + cached + output + cost FROM edge_usage`:                  "20",
		},
	}
	for range 2 {
		for _, text := range append(seed(), seedTraffic()...) {
			if _, err := db.ExecContext(t.Context(), text); err != nil {
				t.Fatalf("%.60s: %v", text, err)
			}
		}
		for {
			version, err := provider.GetDBVersion(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if version == 0 {
				break
			}
			if _, err := provider.Down(t.Context()); err != nil {
				t.Fatalf("back from %d: %v", version, err)
			}
			for query, want := range after[version] {
				if got := read(query); got != want {
					t.Errorf("back from %d: %s: %q, want %q", version, query, got, want)
				}
			}
			// From each of them there is a way forward, with the rows that are there then.
			if _, err := provider.Up(t.Context()); err != nil {
				t.Fatalf("there again from %d: %v", version, err)
			}
			for query, want := range again[version] {
				if got := read(query); got != want {
					t.Errorf("there again from %d: %s: %q, want %q", version, query, got, want)
				}
			}
			if version <= 22 && version > 17 {
				if got := read(`SELECT provider_subject || provider_session FROM edge_sessions`); got != "" {
					t.Errorf("there again from %d: a session has %q", version, got)
				}
			}
			if _, err := provider.DownTo(t.Context(), version-1); err != nil {
				t.Fatalf("back below %d: %v", version, err)
			}
		}
		if left := tables(t, db); left != "" {
			t.Errorf("left when all is taken back: %s", left)
		}
		if _, err := provider.Up(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// tables are those of the edge that are there.
func tables(t *testing.T, db *sqldb.DB) string {
	t.Helper()
	query := `SELECT name FROM sqlite_master WHERE name LIKE 'edge%'`
	if db.Dialect == sqldb.Postgres {
		query = `SELECT tablename FROM pg_tables WHERE tablename LIKE 'edge%'`
	}
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(name, table) {
			out = append(out, name)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, " ")
}
