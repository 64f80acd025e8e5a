package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// Migrate applies the migrations of fsys that the database has not had, in
// order: the .sql files of the directory named after the dialect (sqlite,
// postgres), or of the root when there is no such directory. They are written
// for goose. Several processes may migrate at once: on PostgreSQL they take
// turns, SQLite has one writer.
func (db *DB) Migrate(ctx context.Context, fsys fs.FS, log *slog.Logger) error {
	dir, err := migrationsOf(fsys, db.Dialect)
	if err != nil {
		return err
	}
	opts := []goose.ProviderOption{
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("schema_migrations"),
	}
	dialect := goose.DialectSQLite3
	if db.Dialect == Postgres {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return fmt.Errorf("sqldb: migrate: %w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	provider, err := goose.NewProvider(dialect, db.DB, dir, opts...)
	if err != nil {
		return fmt.Errorf("sqldb: migrate: %w", err)
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		log.InfoContext(ctx, "migrated", slog.String("migration", r.Source.Path), slog.Duration("took", r.Duration))
	}
	if err != nil {
		return fmt.Errorf("sqldb: migrate: %w", err)
	}
	return nil
}

func migrationsOf(fsys fs.FS, d Dialect) (fs.FS, error) {
	info, err := fs.Stat(fsys, string(d))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fsys, nil
	case err != nil:
		return nil, fmt.Errorf("sqldb: migrations: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("sqldb: migrations: %s is not a directory", d)
	}
	return fs.Sub(fsys, string(d))
}
