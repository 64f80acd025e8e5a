//go:build real

package webhook

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresWebhooks(t *testing.T) {
	testWebhooks(t, func(t *testing.T) string {
		t.Helper()
		return testkit.Postgres(t).DSN
	})
}
