package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/poterne/poterne/pkg/apierr"
)

// Rights say which documents a caller may replace and remove. None by default.
type Rights struct {
	// Principals are the caller's: what one of them may read may be changed.
	Principals []string
	// All is for administrators, who publish for groups that they are not in:
	// every document of the collection, readable or not.
	All bool
}

// covers returns the condition that the rights cover a document d, as an
// expression that is true or false, and its arguments from $first on.
func (r Rights) covers(first int) (string, []any) {
	if r.All {
		return "(1 = 1)", nil
	}
	in, args := anyOf(first, r.Principals)
	return "(" + readable(in) + ")", args
}

// coversAll refuses the caller when c has a document that the rights do not
// cover.
func (s *Store) coversAll(ctx context.Context, tx *sql.Tx, c Collection, r Rights) error {
	if r.All {
		return nil
	}
	covered, args := r.covers(2)
	var other bool
	err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM search_documents d
		WHERE d.collection = $1 AND `+s.live()+` AND NOT `+covered+`)`, append([]any{c.UID}, args...)...).Scan(&other)
	switch {
	case err != nil:
		return fmt.Errorf("look for documents of others: %w", err)
	case other:
		return apierr.New(apierr.PermissionDenied, "collection %q holds documents that are not available to you", c.ID).WithField("collection")
	default:
		return nil
	}
}
