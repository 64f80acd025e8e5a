//go:build real

package batches

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealPostgresStore(t *testing.T) {
	for name, test := range map[string]func(*testing.T, string){
		"calls": testStore, "at random": testAtRandom, "runner": testRunner, "killed runners": testKilledRunners,
	} {
		t.Run(name, func(t *testing.T) { test(t, testkit.Postgres(t).DSN) })
	}
}
