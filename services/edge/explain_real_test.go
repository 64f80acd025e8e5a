//go:build real

package edge_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealARequestIsExplainedAtAnotherEdge(t *testing.T) {
	testExplainedElsewhere(t, testkit.Postgres(t).DSN)
}
