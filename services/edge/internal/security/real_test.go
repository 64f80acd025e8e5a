//go:build real

package security

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgres(t *testing.T) { testLife(t, testkit.Postgres(t).DSN) }

func TestRealPoliciesOnTwoEdges(t *testing.T) { testPolicies(t, testkit.Postgres(t).DSN) }

func TestRealDryRunOnTwoEdges(t *testing.T) { testDryRun(t, testkit.Postgres(t).DSN) }
