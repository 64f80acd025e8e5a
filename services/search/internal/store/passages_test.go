package store

import (
	"path/filepath"
	"strings"
	"testing"
)

// SQLite looks passages up one by one, however many are asked for: to walk through
// a collection takes it a thousand times as long.
func TestPassagesAreLookedUpByKey(t *testing.T) {
	s := open(t, "sqlite://"+filepath.Join(t.TempDir(), "truth.db"))
	for _, refs := range []int{1, 16, 128, 1024} {
		args := []any{"uid", 1}
		for range refs {
			args = append(args, 1, 0)
		}
		text := strings.Join(plan(t, s, passagesQuery(refs), args), "\n")
		for _, want := range []string{
			"SEARCH c USING INDEX sqlite_autoindex_search_chunks_1 (collection=? AND embedding_generation=? AND no=? AND number=?)",
			"SEARCH d USING INDEX search_documents_no (collection=? AND no=?)",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%d references: the plan lacks %q:\n%s", refs, want, text)
			}
		}
	}
}

// plan is how SQLite goes about a query, step by step.
func plan(t *testing.T, s *Store, query string, args []any) (steps []string) {
	t.Helper()
	rows, err := s.db.Reader().QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	check(t, err)
	defer func() { check(t, rows.Close()) }()
	for rows.Next() {
		var id, parent, unused int
		var step string
		check(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	check(t, rows.Err())
	return steps
}
