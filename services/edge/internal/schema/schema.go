// Package schema holds the edge's tables, in SQL that SQLite and PostgreSQL
// both understand. Start reading at Open; what reads and writes a table is in
// the package that the table belongs to.
package schema

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"

	"github.com/poterne/poterne/pkg/sqldb"
)

//go:embed migrations/*.sql
var files embed.FS

// table keeps the edge's migrations apart from those of services that may share
// its database.
const table = "edge_schema_migrations"

// Open opens the edge's database and brings its tables up to date. Several
// replicas may do so at once.
func Open(ctx context.Context, cfg sqldb.Config, log *slog.Logger) (*sqldb.DB, error) {
	db, err := sqldb.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	migrations, err := fs.Sub(files, "migrations")
	if err == nil {
		err = db.Migrate(ctx, migrations, log, sqldb.WithTable(table))
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}
