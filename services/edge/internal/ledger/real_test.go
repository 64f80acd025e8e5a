//go:build real

package ledger

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresStore(t *testing.T) { testStore(t, testkit.Postgres(t).DSN) }

func TestRealPostgresFold(t *testing.T) { testFold(t, testkit.Postgres(t).DSN) }
