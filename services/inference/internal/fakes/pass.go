package fakes

import (
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Pass lets time pass in a testing/synctest bubble, where it takes none.
func Pass(tb testing.TB, d time.Duration) {
	tb.Helper()
	if err := clock.Sleep(tb.Context(), clock.Real(), d); err != nil {
		tb.Fatal(err)
	}
}
