//go:build real

package responses

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresStore(t *testing.T) { testStore(t, openStore(t, testkit.Postgres(t).DSN)) }

func TestRealPostgresSealedStore(t *testing.T) {
	testStore(t, NewSealed(openStore(t, testkit.Postgres(t).DSN), masters(t, "a")))
}
