//go:build real

package route

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresRoutes(t *testing.T) {
	testStore(t, func(t *testing.T) (*SQLStore, *SQLStore) {
		t.Helper()
		dsn := testkit.Postgres(t).DSN
		return openStore(t, dsn), openStore(t, dsn)
	})
}
