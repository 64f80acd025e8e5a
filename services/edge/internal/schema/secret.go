package schema

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/poterne/poterne/pkg/sqldb"
)

// SharedSecret returns the 32 bytes of that name which all replicas on db share,
// made from random by the first one that asks.
func SharedSecret(ctx context.Context, db *sqldb.DB, name string, random io.Reader) ([]byte, error) {
	fresh := make([]byte, 32)
	if _, err := io.ReadFull(random, fresh); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	_, err := db.ExecContext(ctx, `INSERT INTO edge_secrets (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING`,
		name, hex.EncodeToString(fresh))
	if err != nil {
		return nil, fmt.Errorf("keep a key: %w", err)
	}
	var text string
	if err := db.QueryRowContext(ctx, `SELECT value FROM edge_secrets WHERE name = $1`, name).Scan(&text); err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) < len(fresh) {
		return nil, errors.New("the key in the store is damaged")
	}
	return key, nil
}
