//go:build real

package session

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresStore(t *testing.T) { testStore(t, testkit.Postgres(t).DSN) }

func TestRealPostgresReplicas(t *testing.T) { testReplicas(t, testkit.Postgres(t).DSN) }

func TestRealPostgresProviderLogout(t *testing.T) { testProviderLogout(t, testkit.Postgres(t).DSN) }
