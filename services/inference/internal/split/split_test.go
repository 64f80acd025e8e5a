package split_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/split"
)

// TestVectors reads the vectors out of the document that others implement from,
// so that the document and the code cannot part.
func TestVectors(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../../../docs/splits.md")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	found := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		cells := strings.Split(lines.Text(), "|")
		if len(cells) != 6 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`0x") {
			continue
		}
		salt, key := cell(t, cells[1]), cell(t, cells[2])
		want, err := strconv.ParseUint(strings.TrimSpace(cells[4]), 10, 32)
		if err != nil {
			t.Fatalf("the point in %q: %v", lines.Text(), err)
		}
		if got := split.Point(salt, key); uint64(got) != want {
			t.Errorf("Point(%q, %q) = %d; the document says %d", salt, key, got, want)
		}
		found++
	}
	if found < 8 {
		t.Fatalf("the document holds %d vectors; want at least 8", found)
	}
}

func cell(t *testing.T, s string) string {
	t.Helper()
	text, err := hex.DecodeString(strings.TrimPrefix(strings.Trim(s, " `"), "0x"))
	if err != nil {
		t.Fatalf("cell %q: %v", s, err)
	}
	return string(text)
}

func TestChoose(t *testing.T) {
	t.Parallel()
	weights := []uint32{0, 100_000, 0, 900_000, 0}
	for point, want := range map[uint32]int{0: 1, 99_999: 1, 100_000: 3, 999_999: 3} {
		if got := split.Choose(weights, point); got != want {
			t.Errorf("Choose at %d = %d; want %d", point, got, want)
		}
	}
	if got := split.Choose([]uint32{1, 1}, 2); got != -1 {
		t.Errorf("Choose beyond the weights = %d; want -1", got)
	}
	if got := split.Choose(nil, 0); got != -1 {
		t.Errorf("Choose without arms = %d; want -1", got)
	}
	if got := split.Choose([]uint32{split.Total}, split.Total-1); got != 0 {
		t.Errorf("Choose at the end of one arm = %d; want 0", got)
	}
}

// TestDistribution checks every arm's share against its weight. With n keys the
// share's standard deviation is sqrt(p(1-p)/n); five of them are never seen by
// chance, and the keys are fixed.
func TestDistribution(t *testing.T) {
	t.Parallel()
	const n = 200_000
	weights := []uint32{10_000, 90_000, 400_000, 500_000}
	for _, salt := range []string{"6f1c", "another salt"} {
		counts := make([]int, len(weights))
		for i := range n {
			counts[split.Choose(weights, split.Point(salt, "user:"+strconv.Itoa(i)))]++
		}
		for i, w := range weights {
			p := float64(w) / split.Total
			got := float64(counts[i]) / n
			if limit := 5 * math.Sqrt(p*(1-p)/n); math.Abs(got-p) > limit {
				t.Errorf("salt %q, arm %d: share %.5f, weight %.5f, more than %.5f apart", salt, i, got, p, limit)
			}
		}
	}
}

// TestStickiness: a key stays in its arm when the bounds of that arm stay, and
// raising the last-but-one arm at the cost of the last moves only keys that come
// out of the last.
func TestStickiness(t *testing.T) {
	t.Parallel()
	before := []uint32{500_000, 100_000, 400_000}
	after := []uint32{500_000, 300_000, 200_000}
	moved := 0
	for i := range 50_000 {
		point := split.Point("salt", fmt.Sprintf("subject-%d", i))
		b, a := split.Choose(before, point), split.Choose(after, point)
		if b != split.Choose(before, split.Point("salt", fmt.Sprintf("subject-%d", i))) {
			t.Fatal("the same key fell into two arms")
		}
		if a == b {
			continue
		}
		moved++
		if b != 2 || a != 1 {
			t.Fatalf("key %d moved from arm %d to arm %d", i, b, a)
		}
	}
	if share := float64(moved) / 50_000; math.Abs(share-0.2) > 0.01 {
		t.Errorf("%.3f of the keys moved; want 0.2", share)
	}
}

// TestIndependence: two salts divide the same keys independently, so that the
// callers who meet one experiment are not those who meet every other.
func TestIndependence(t *testing.T) {
	t.Parallel()
	const n = 100_000
	half := []uint32{500_000, 500_000}
	both := 0
	for i := range n {
		key := strconv.Itoa(i)
		if split.Choose(half, split.Point("one", key)) == 0 && split.Choose(half, split.Point("two", key)) == 0 {
			both++
		}
	}
	if share := float64(both) / n; math.Abs(share-0.25) > 0.01 {
		t.Errorf("%.4f of the keys are in the first arm of both splits; want 0.25", share)
	}
}
