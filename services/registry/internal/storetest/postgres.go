//go:build real

package storetest

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/testkit"
)

// Postgres starts a PostgreSQL server for the test and makes databases in it.
func Postgres(tb testing.TB) Databases {
	tb.Helper()
	server := testkit.Postgres(tb)
	var made atomic.Int64
	return func(tb testing.TB) sqldb.Config {
		tb.Helper()
		conn, err := pgx.Connect(tb.Context(), server.DSN)
		if err != nil {
			tb.Fatal(err)
		}
		defer func() { _ = conn.Close(tb.Context()) }()
		name := fmt.Sprintf("registry_%d", made.Add(1))
		if _, err := conn.Exec(tb.Context(), "CREATE DATABASE "+name); err != nil {
			tb.Fatal(err)
		}
		dsn, err := url.Parse(server.DSN)
		if err != nil {
			tb.Fatal(err)
		}
		dsn.Path = "/" + name
		return sqldb.DefaultConfig(dsn.String())
	}
}
