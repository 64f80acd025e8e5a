//go:build real

package bench

import (
	"log/slog"
	"testing"
)

// Requests that fail, are left, or are made twice, at two edges that are killed:
// what is settled is what the engines counted. The benchmark makes 100,000 of them.
func TestRealLedger(t *testing.T) {
	rows, err := Ledger(3000, 4, slog.New(slog.NewTextHandler(t.Output(), nil)))(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		t.Logf("%s: %s %s", r.What, r.Measured, r.Bar)
		if !r.Holds {
			t.Errorf("%s: %s, want %s", r.What, r.Measured, r.Bar)
		}
	}
}
