package embedded

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/search/internal/vector"
)

// segmentsKB returns how much of mapped segments is in the process's memory.
func segmentsKB(t *testing.T, dir string) (kb int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	within := false
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) > 0 && !strings.HasSuffix(fields[0], ":"):
			name := fields[len(fields)-1]
			within = strings.HasPrefix(name, dir) && strings.HasSuffix(name, ".seg")
		case within && fields[0] == "Rss:":
			n := 0
			for _, d := range fields[1] {
				n = 10*n + int(d-'0')
			}
			kb += n
		}
	}
	return kb
}

// Where more is mapped than there should be, searches give all segments back, each
// in its turn, and find the same.
func TestSearchesGiveMappedPagesBack(t *testing.T) {
	for _, mapped := range []int64{0, 1} {
		w := newWorld(t, withLimits(limits{seal: 64 << 10, merge: 1}), WithMapped(mapped))
		w.replace()
		rng := rand.New(rand.NewPCG(5, 5))
		for range 6 {
			w.changeWords(rng, 0, 200)
		}
		parts := w.c.memory.parts
		if len(parts) < mappedParts {
			t.Fatalf("%d segments", len(parts))
		}
		w.check()
		for _, p := range parts { // as if all had been searched
			_ = w.c.memory.vectors.Exact(w.model.Next(), []vector.Range{{First: p.first, Count: uint32(p.segment.Rows())}}, 1, w.c.memory.chunkID)
		}
		if kb := segmentsKB(t, w.dir); kb < 100 {
			t.Fatalf("only %d KiB are mapped", kb)
		}
		for range len(parts)/givenBack + 1 {
			w.c.bound()
		}
		if kb := segmentsKB(t, w.dir); (kb == 0) != (mapped > 0) {
			t.Errorf("bounded by %d bytes: %d KiB are mapped", mapped, kb)
		}
		w.check()
	}
}
