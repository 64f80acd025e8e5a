//go:build real

package limitrule

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresLimits(t *testing.T) {
	testStore(t, func(t *testing.T) (Store, Store) {
		t.Helper()
		dsn := testkit.Postgres(t).DSN
		return openStore(t, dsn), openStore(t, dsn)
	})
}
