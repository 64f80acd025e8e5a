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

// MigrateOption changes what Migrate does.
type MigrateOption func(*migrateOptions)

type migrateOptions struct{ table string }

// WithTable notes the migrations in the named table. Services that may share a
// database each need one of their own; schema_migrations is the default.
func WithTable(name string) MigrateOption { return func(o *migrateOptions) { o.table = name } }

// Migrate applies the migrations of fsys that the database has not had, in
// order: the .sql files of the directory named after the dialect (sqlite,
// postgres), or of the root when there is no such directory. They are written
// for goose. Several processes may migrate at once: on PostgreSQL they take
// turns, SQLite has one writer.
func (db *DB) Migrate(ctx context.Context, fsys fs.FS, log *slog.Logger, options ...MigrateOption) error {
	o := migrateOptions{table: "schema_migrations"}
	for _, opt := range options {
		opt(&o)
	}
	dir, err := migrationsOf(fsys, db.Dialect)
	if err != nil {
		return err
	}
	opts := []goose.ProviderOption{
		goose.WithDisableGlobalRegistry(true), goose.WithTableName(o.table),
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
