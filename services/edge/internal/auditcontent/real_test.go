//go:build real

package auditcontent

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgres(t *testing.T) {
	server := testkit.Postgres(t)
	db, err := sqldb.Open(t.Context(), sqldb.DefaultConfig(server.DSN))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	n := 0
	dsn := func(t *testing.T) string {
		t.Helper()
		n++
		name := fmt.Sprintf("content%d", n)
		if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(server.DSN)
		if err != nil {
			t.Fatal(err)
		}
		u.Path = "/" + name
		return u.String()
	}
	testStore(t, openDB(t, dsn(t)))
	testKeeper(t, dsn)
}
