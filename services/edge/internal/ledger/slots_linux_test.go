package ledger

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

// Requests in hand that wait take no memory for what is kept of them, and it is there
// when their process is killed.
func TestRequestsInHandRest(t *testing.T) {
	dir := t.TempDir()
	j := begun(t, dir)
	const n = 8 * slotsPerChunk
	for i := range n {
		e := entry(i)
		if _, err := j.take(&e); err != nil {
			t.Fatal(err)
		}
	}
	if got := testkit.Resident(t, dir); got > 3*chunkBytes {
		t.Errorf("%d requests take %d KB", n, got>>10)
	}
	if left, _, err := leftInHand(dir); err != nil || len(left) != n {
		t.Errorf("%d of %d requests are in the files, %v", len(left), n, err)
	}
}
