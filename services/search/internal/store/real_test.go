//go:build real

package store

import (
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealOnPostgreSQL(t *testing.T) {
	server := testkit.Postgres(t)
	admin, err := sqldb.Open(t.Context(), sqldb.DefaultConfig(server.DSN))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	var n atomic.Int64
	runSuite(t, func(t *testing.T) string {
		t.Helper()
		name := fmt.Sprint("suite", n.Add(1))
		if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(server.DSN)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + name
		return u.String()
	})
}
