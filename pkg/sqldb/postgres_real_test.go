//go:build real

package sqldb_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgres(t *testing.T) {
	server := testkit.Postgres(t)
	admin := openDSN(t, server.DSN)
	var n atomic.Int64
	fresh := func(t *testing.T) string {
		t.Helper()
		name := fmt.Sprintf("db%d", n.Add(1))
		if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
			t.Fatal(err)
		}
		return strings.Replace(server.DSN, "/postgres?", "/"+name+"?", 1)
	}
	suite(t, func(t *testing.T) *sqldb.DB { t.Helper(); return openDSN(t, fresh(t)) })

	t.Run("inserter", func(t *testing.T) { testInserter(t, openDSN(t, fresh(t))); testShortRows(t, openDSN(t, fresh(t))) })
	t.Run("inserter's values", func(t *testing.T) { testInserterValues(t, openDSN(t, fresh(t)), "BYTEA", nil) })
	t.Run("replicas migrate at once", func(t *testing.T) {
		dsn := fresh(t)
		var wg sync.WaitGroup
		for range 4 {
			db := openDSN(t, dsn)
			wg.Go(func() {
				if err := db.Migrate(t.Context(), migrations, slog.New(slog.DiscardHandler)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}
