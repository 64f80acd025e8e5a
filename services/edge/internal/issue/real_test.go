//go:build real

package issue

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgres(t *testing.T) {
	t.Run("the first key", func(t *testing.T) { testFirstKey(t, testkit.Postgres(t).DSN) })
	t.Run("rotation", func(t *testing.T) { testRotation(t, testkit.Postgres(t).DSN) })
}
