// Package sharedsecret keeps the keys that all replicas on one store share, by
// their names. It does not know what they are for. Start reading at Load.
package sharedsecret

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/poterne/poterne/pkg/sqldb"
)

// Bytes is how long a key is.
const Bytes = 32

// Load returns the key of that name, made from random by the first replica that
// asks for it.
func Load(ctx context.Context, db *sqldb.DB, random io.Reader, name string) ([]byte, error) {
	fresh := make([]byte, Bytes)
	if _, err := io.ReadFull(random, fresh); err != nil {
		return nil, fmt.Errorf("shared secret %s: make it: %w", name, err)
	}
	_, err := db.ExecContext(ctx, `INSERT INTO edge_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
		name, hex.EncodeToString(fresh))
	if err != nil {
		return nil, fmt.Errorf("shared secret %s: keep it: %w", name, err)
	}
	var text string
	if err := db.QueryRowContext(ctx, `SELECT value FROM edge_secrets WHERE name = $1`, name).Scan(&text); err != nil {
		return nil, fmt.Errorf("shared secret %s: read it: %w", name, err)
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) < Bytes {
		return nil, fmt.Errorf("shared secret %s: what the store has is damaged", name)
	}
	return key, nil
}
