//go:build real

package files

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresStore(t *testing.T) { testStore(t, testkit.Postgres(t).DSN) }
