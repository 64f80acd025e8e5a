//go:build real

package files

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresStore(t *testing.T) { testStore(t, testkit.Postgres(t).DSN) }

func TestRealPostgresAndDirectory(t *testing.T) {
	testStore(t, testkit.Postgres(t).DSN, Place{PlaceDirectory, directory(t, t.TempDir())})
}
