//go:build real

package policy

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealMigration(t *testing.T) { testMigration(t, testkit.Postgres(t).DSN) }
