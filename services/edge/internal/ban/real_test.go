//go:build real

package ban

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresBans(t *testing.T) {
	testShared(t, func(t *testing.T) Store { t.Helper(); return openStore(t, testkit.Postgres(t).DSN) })
}
