// Package sqldb opens SQLite or PostgreSQL from one connection string, brings
// its schema up to date, and runs transactions again that lost a race. It knows
// no schema; start reading at Open.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/poterne/poterne/pkg/config"
)

// Config is how a database is reached.
type Config struct {
	// DSN is sqlite:///absolute/file.db, sqlite:relative/file.db or
	// postgres://user:password@host:port/database?options.
	DSN config.SecretURL `yaml:"dsn"`
	// MaxOpen bounds the connections to PostgreSQL, or SQLite's readers; SQLite
	// has one writer in any case.
	MaxOpen int `yaml:"max_open"`
	// MaxLifetime is after how long a connection to PostgreSQL is renewed.
	MaxLifetime time.Duration `yaml:"max_lifetime"`
	// BusyTimeout is how long SQLite waits for another process's lock.
	BusyTimeout time.Duration `yaml:"busy_timeout"`
	// Sync is how SQLite commits: normal survives the end of the process, full a
	// power cut as well, for a wait on the disk at every commit. PostgreSQL has
	// its own settings.
	Sync string `yaml:"sync"`
}

// The values of Config.Sync.
const (
	SyncNormal = "normal"
	SyncFull   = "full"
)

// DefaultConfig returns the defaults for the given connection string.
func DefaultConfig(dsn string) Config {
	return Config{
		DSN: config.SecretURL(dsn), MaxOpen: 10, MaxLifetime: 30 * time.Minute, BusyTimeout: 5 * time.Second,
		Sync: SyncNormal,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	if _, err := parseDSN(c.DSN.Reveal()); err != nil {
		p.Add(prefix+".dsn", "%v", err)
	}
	p.Check(c.MaxOpen > 0, prefix+".max_open", "must be positive, got %d", c.MaxOpen)
	p.Check(c.MaxLifetime > 0, prefix+".max_lifetime", "must be positive, got %v", c.MaxLifetime)
	p.Check(c.Sync == SyncNormal || c.Sync == SyncFull, prefix+".sync", "must be normal or full, got %q", c.Sync)
	p.Check(c.BusyTimeout >= 0, prefix+".busy_timeout", "must not be negative, got %v", c.BusyTimeout)
}

// DB is a database that takes $1 placeholders. The embedded pool writes and
// reads what was written; it is what sqlc's generated code is given. It is safe
// for concurrent use.
type DB struct {
	*sql.DB
	// Dialect says which kind it is.
	Dialect Dialect

	reader *sql.DB
}

// Open returns the database, once it has answered within ctx. SQLite's file is
// created when it is not there, but not its directory.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	d, err := parseDSN(cfg.DSN.Reveal())
	if err != nil {
		return nil, err
	}
	db := &DB{Dialect: d.dialect}
	switch d.dialect {
	case SQLite:
		err = db.openSQLite(d, cfg)
	case Postgres:
		err = db.openPostgres(d, cfg)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqldb: open %s: %w", d.dialect, scrub(err)), db.Close())
	}
	return db, nil
}

// ownerOnly is the mode of a database's file: what is in it is nobody else's to
// read. SQLite gives the files that it makes beside it the same mode.
const ownerOnly = 0o600

func (db *DB) openSQLite(d dsn, cfg Config) error {
	// SQLite itself would make the file readable by all; one that is there keeps
	// the mode that its owner gave it.
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_RDWR, ownerOnly)
	if err != nil {
		return fmt.Errorf("sqldb: open sqlite: %w", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("sqldb: open sqlite: %w", err)
	}
	if db.DB, err = openBulk(d.sqliteURI(false, cfg.BusyTimeout, cfg.Sync)); err != nil {
		return fmt.Errorf("sqldb: open sqlite: %w", err)
	}
	// One writer: others would only wait for its lock, and fail when it is long.
	db.SetMaxOpenConns(1)
	if db.reader, err = sql.Open("sqlite", d.sqliteURI(true, cfg.BusyTimeout, cfg.Sync)); err != nil {
		return fmt.Errorf("sqldb: open sqlite: %w", err)
	}
	db.reader.SetMaxOpenConns(cfg.MaxOpen)
	db.reader.SetMaxIdleConns(min(cfg.MaxOpen, 2))
	return nil
}

func (db *DB) openPostgres(d dsn, cfg Config) error {
	var err error
	if db.DB, err = openPostgres(d.url); err != nil {
		return fmt.Errorf("sqldb: open postgres: %w", scrub(err))
	}
	db.SetMaxOpenConns(cfg.MaxOpen)
	db.SetMaxIdleConns(cfg.MaxOpen)
	db.SetConnMaxLifetime(cfg.MaxLifetime)
	db.reader = db.DB
	return nil
}

// Reader returns the pool for statements that only read: on SQLite they do not
// wait for the writer.
func (db *DB) Reader() *sql.DB { return db.reader }

// Close closes every connection.
func (db *DB) Close() error {
	var errs []error
	if db.reader != nil && db.reader != db.DB {
		errs = append(errs, db.reader.Close())
	}
	if db.DB != nil {
		errs = append(errs, db.DB.Close())
	}
	return errors.Join(errs...)
}
