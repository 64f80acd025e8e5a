package split_test

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/split"
)

// The padding and the state that is read are those of SHA-256 at every length, also
// at one that no key has.
func TestPointIsOfSHA256(t *testing.T) {
	t.Parallel()
	for n := range 700 {
		salt, key := strings.Repeat("s", n%70), strings.Repeat("k", n-n%70)+string(rune('a'+n%26))
		sum := sha256.Sum256([]byte(salt + "\x00" + key))
		want, _ := bits.Mul64(binary.BigEndian.Uint64(sum[:]), split.Total)
		if got := split.Point(salt, key); uint64(got) != want {
			t.Fatalf("Point of %d bytes = %d; want %d", len(salt)+1+len(key), got, want)
		}
	}
}

// Deciding at the same time is deciding one after another.
func TestPointFromSeveralGoroutines(t *testing.T) {
	t.Parallel()
	for key := range strings.FieldsSeq("ana ben cem dora") {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			want := split.Point("salt", key)
			for range 10_000 {
				if got := split.Point("salt", key); got != want {
					t.Fatalf("Point = %d; it was %d", got, want)
				}
			}
		})
	}
}
