//go:build real

package bench

import (
	"testing"
	"time"
)

// The registry is stopped for a moment under traffic and started again. The
// benchmark does the same for as long as it is asked to.
func TestRealRegistryOutage(t *testing.T) {
	rows, err := RegistryOutage(3 * time.Second)(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if !r.Holds {
			t.Errorf("%s: %s, want %s", r.What, r.Measured, r.Bar)
		}
	}
}
