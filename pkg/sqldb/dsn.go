package sqldb

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Dialect is the kind of database, where a statement must differ by it.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// DSN forms.
const (
	schemeSQLite     = "sqlite"
	schemePostgres   = "postgres"
	schemePostgresql = "postgresql"
)

// dsn is a connection string taken apart.
type dsn struct {
	dialect Dialect
	path    string // SQLite: the file
	url     string // PostgreSQL: the whole string
}

// parseDSN reads sqlite:///absolute/file.db, sqlite:relative/file.db or
// postgres://user:password@host:port/database?options. Its errors do not repeat
// the string, which may hold a password.
func parseDSN(s string) (dsn, error) {
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok {
		return dsn{}, errors.New("sqldb: the connection string must begin with sqlite or postgres and a colon")
	}
	switch scheme {
	case schemeSQLite:
		path, err := sqlitePath(rest)
		return dsn{dialect: SQLite, path: path}, err
	case schemePostgres, schemePostgresql:
		if u, err := url.Parse(s); err != nil || u.Host == "" && u.Query().Get("host") == "" {
			return dsn{}, errors.New("sqldb: the PostgreSQL connection string must be written postgres://user:password@host:port/database")
		}
		return dsn{dialect: Postgres, url: s}, nil
	default:
		return dsn{}, fmt.Errorf("sqldb: unknown kind of database %q; use sqlite or postgres", scheme)
	}
}

func sqlitePath(rest string) (string, error) {
	path := rest
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		path = after
		if !strings.HasPrefix(path, "/") {
			return "", errors.New("sqldb: a SQLite file is written sqlite:///absolute/file.db or sqlite:relative/file.db")
		}
	}
	if path == "" || strings.ContainsAny(path, "?#") || strings.HasPrefix(path, ":memory:") {
		return "", errors.New("sqldb: the SQLite connection string must name a file, without options")
	}
	return path, nil
}

// DialectOf returns the dialect of a connection string.
func DialectOf(s string) (Dialect, error) {
	d, err := parseDSN(s)
	return d.dialect, err
}

// sqliteURI returns the driver's name for the file. Writers begin their
// transactions at once with the lock, rather than fail when they upgrade.
func (d dsn) sqliteURI(readOnly bool, busy time.Duration, sync string) string {
	q := url.Values{}
	q.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()))
	q.Add("_pragma", "foreign_keys(1)")
	q.Add("_time_format", "sqlite")
	if readOnly {
		q.Add("_pragma", "query_only(1)")
		// The upper levels of some indexes, which SQLite's own 2 MiB do not hold.
		q.Add("_pragma", "cache_size(-16384)")
	} else {
		q.Add("_pragma", "journal_mode(wal)")
		q.Add("_pragma", "synchronous("+cmp.Or(sync, SyncNormal)+")")
		q.Set("_txlock", "immediate")
	}
	u := url.URL{Scheme: "file", Path: d.path, RawQuery: q.Encode()}
	if !strings.HasPrefix(d.path, "/") {
		u.Path, u.Opaque = "", (&url.URL{Path: d.path}).EscapedPath()
	}
	return u.String()
}
