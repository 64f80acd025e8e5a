package store

import (
	"slices"
	"testing"
)

// What a collection has is in its backup. A column that is added to these tables
// has to be added to package backup, or to be made anew when a collection is
// restored; then its name goes here.
func everythingIsBackedUp(f fixture) {
	t, s := f.t, f.s
	for table, known := range map[string][]string{
		"search_collections": {
			"tenant", "id", "uid", "display_name", "embedding_model", "embedding_digest", "dimensions", "document_count",
			"chunk_count", "generation", "forgotten", "create_time", "update_time", "fusion", "lexical_weight", "vector_weight", "vector_metric",
		},
		"search_documents": {
			"collection", "id", "no", "title", "text", "metadata", "acl", "content_hash", "text_hash", "chunk_count", "create_time", "update_time",
		},
		"search_chunks":     {"collection", "no", "number", "start_offset", "end_offset", "terms", "text", "vector"},
		"search_principals": {"collection", "principal", "document"},
	} {
		rows, err := s.db.QueryContext(t.Context(), `SELECT * FROM `+table)
		check(t, err)
		columns, err := rows.Columns()
		check(t, err)
		check(t, rows.Close())
		check(t, rows.Err())
		for _, c := range columns {
			if !slices.Contains(known, c) {
				t.Errorf("%s.%s is not in backups", table, c)
			}
		}
	}
}
