//go:build real

package schema

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresMigrations(t *testing.T) { testMigrations(t, testkit.Postgres(t).DSN) }
