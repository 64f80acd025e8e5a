package store

import (
	"errors"
	"slices"
)

// What a collection has is in its backup. A column that is added to these tables
// has to be added to package backup, or to be made anew when a collection is
// restored; then its name goes here.
func everythingIsBackedUp(f fixture) {
	t := f.t
	for table, known := range map[string][]string{
		"search_collections": {
			"tenant", "id", "uid", "display_name", "embedding_model", "embedding_digest", "dimensions", "document_count",
			"chunk_count", "generation", "forgotten", "create_time", "update_time", "fusion", "lexical_weight", "vector_weight", "vector_metric",
			"expires", "embedding_generation", "serving_since", "embedding_generations",
		},
		"search_documents": {
			"collection", "id", "no", "title", "text", "metadata", "acl", "content_hash", "text_hash", "chunk_count", "create_time", "update_time",
			"expire_time",
		},
		"search_chunks":     {"collection", "embedding_generation", "no", "number", "start_offset", "end_offset", "terms", "text", "vector", "headings"},
		"search_principals": {"collection", "principal", "document"},
	} {
		for _, c := range columnsOf(f, table) {
			if !slices.Contains(known, c) {
				t.Errorf("%s.%s is not in backups", table, c)
			}
		}
	}
}

func columnsOf(f fixture, table string) []string {
	f.t.Helper()
	rows, err := f.s.db.QueryContext(f.t.Context(), `SELECT * FROM `+table)
	check(f.t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	check(f.t, errors.Join(err, rows.Err()))
	return columns
}
