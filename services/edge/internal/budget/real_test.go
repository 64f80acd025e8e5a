//go:build real

package budget

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresStore(t *testing.T) { testStore(t, testkit.Postgres(t).DSN) }

func TestRealPostgresAddsUp(t *testing.T) { testAddUp(t, testkit.Postgres(t).DSN, 11, 800) }
