package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

// migrated puts a database with all tables where dsn says that a gate's own is to be, when
// that is path and nothing is there: making the tables takes longer than most tests.
func migrated(tb testing.TB, dsn, path string) {
	tb.Helper()
	if dsn != "sqlite:"+path {
		return
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	file, err := emptyDatabase()
	if err == nil {
		err = os.WriteFile(path, file, 0o600)
	}
	if err != nil {
		tb.Fatalf("prepare a database: %v", err)
	}
}

// emptyDatabase is the file of a database with all tables and no rows, made once.
var emptyDatabase = sync.OnceValues(func() (_ []byte, err error) {
	dir, err := os.MkdirTemp("", "poterne-edge-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "edge.db")
	db, err := schema.Open(context.Background(), sqldb.DefaultConfig("sqlite:"+path), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, fmt.Errorf("make the tables: %w", err)
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})
