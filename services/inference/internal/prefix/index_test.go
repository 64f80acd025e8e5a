package prefix_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/inference/internal/prefix"
)

func chain(version, text string) prefix.Chain {
	return prefix.ChainOf(nil, version, prefix.Prompt{Text: []byte(text)})
}

// text returns n blocks that depend on seed.
func text(seed, n int) string {
	return strings.Repeat(fmt.Sprintf("%-63d.", seed), n*prefix.BlockBytes/64)
}

func TestChains(t *testing.T) {
	a, b := chain("v1", text(1, 8)+text(2, 4)), chain("v1", text(1, 8)+text(3, 4))
	if len(a) != 12 {
		t.Fatalf("%d blocks of 12", len(a))
	}
	for i := range a {
		if (a[i] == b[i]) != (i < 8) {
			t.Errorf("block %d: equal is %v", i, a[i] == b[i])
		}
	}
	// The same block behind another beginning is another block.
	if c := chain("v1", text(4, 1)+text(1, 8)); c[1] == a[1] || c[1] == a[0] {
		t.Error("a block counts without what comes before it")
	}
	if chain("v2", text(1, 8))[0] == a[0] {
		t.Error("two versions share a chain")
	}
	salted := prefix.ChainOf(nil, "v1", prefix.Prompt{Text: []byte(text(1, 8)), Salt: []byte("s")})
	if salted[0] == a[0] {
		t.Error("a salt makes no difference")
	}
	// Tools come first, and a block may hold the end of the one and the beginning
	// of the other.
	split := prefix.ChainOf(nil, "v1", prefix.Prompt{Tools: []byte(text(1, 8)[:100]), Text: []byte(text(1, 8)[100:])})
	if len(split) != 8 || split[7] != a[7] {
		t.Error("tools and text are not one sequence")
	}
	if n := len(chain("v1", text(1, prefix.MaxBlocks+9))); n != prefix.MaxBlocks {
		t.Errorf("a chain has %d blocks", n)
	}
}

// fleet is caches by id.
type fleet map[uint32]*prefix.Cache

func newFleet(n int) fleet {
	f := fleet{}
	for id := uint32(1); id <= uint32(n); id++ {
		f[id] = new(prefix.Cache)
		f[id].Renew(id)
	}
	return f
}

func (f fleet) live(id uint32) *prefix.Cache { return f[id] }

func found(x *prefix.Index, f fleet, c prefix.Chain) map[uint32]int {
	out := map[uint32]int{}
	for _, h := range x.Find(nil, c, f.live) {
		out[h.ID] = h.Blocks
	}
	return out
}

func TestFindsTheLongestBeginning(t *testing.T) {
	x, f := prefix.NewIndex(1000), newFleet(3)
	x.Add(chain("v", text(1, 8)), f[1])
	x.Add(chain("v", text(1, 8)+text(2, 4)), f[2])
	got := found(x, f, chain("v", text(1, 8)+text(2, 2)+text(9, 2)))
	if got[1] != 8 || got[2] != 10 || len(got) != 2 {
		t.Errorf("found %v", got)
	}
	delete(f, 2) // its worker is gone
	if got = found(x, f, chain("v", text(1, 8)+text(2, 4))); got[1] != 8 || len(got) != 1 {
		t.Errorf("without the second: %v", got)
	}
	f[1].Renew(7) // its engine was started again
	f[7] = f[1]
	delete(f, 1)
	if got = found(x, f, chain("v", text(1, 8))); len(got) != 0 {
		t.Errorf("after a restart: %v", got)
	}
	if got = found(x, f, nil); len(got) != 0 {
		t.Errorf("an empty chain: %v", got)
	}
}

func TestACacheIsLearntToBeSmall(t *testing.T) {
	x, f := prefix.NewIndex(100_000), newFleet(1)
	c := f[1]
	// The engine holds 100 blocks: ten prompts of ten. It is given twenty in turn.
	misses := 0
	for round := range 200 {
		p := chain("v", text(round%20, 10))
		expected := found(x, f, p)[1]
		if expected > 0 {
			misses++
			x.Learn(c, expected, 0)
		}
		x.Add(p, c)
	}
	if misses > 60 {
		t.Errorf("%d of 200 times a hit was expected that cannot be", misses)
	}
	// Five in turn fit, and are soon believed in again.
	hits := 0
	for round := range 200 {
		p := chain("v", text(100+round%5, 10))
		if expected := found(x, f, p)[1]; expected > 0 {
			hits++
			x.Learn(c, expected, 10)
		}
		x.Add(p, c)
	}
	if hits < 180 {
		t.Errorf("%d of 200 hits were foreseen", hits)
	}
}

// TestIndexIsBounded: whatever comes, the index is no larger than its limit,
// what was just added is found, and nothing is found that was never added.
func TestIndexIsBounded(t *testing.T) {
	const limit = 500
	x, f := prefix.NewIndex(limit), newFleet(8)
	r := rand.New(rand.NewPCG(1, 2))
	given := map[string]bool{}
	for range 20_000 {
		seed, n := r.IntN(200), 1+r.IntN(20)
		id := uint32(1 + r.IntN(8))
		p := chain("v", text(seed, n))
		for holder, blocks := range found(x, f, p) {
			if blocks > n || !given[fmt.Sprint(holder, seed)] {
				t.Fatalf("copy %d is said to have %d blocks of %d that it was never given", holder, blocks, seed)
			}
		}
		x.Add(p, f[id])
		given[fmt.Sprint(id, seed)] = true
		if got := found(x, f, p)[id]; got != n {
			t.Fatalf("of %d blocks just given %d are found", n, got)
		}
		if x.Len() > limit {
			t.Fatalf("%d blocks of %d", x.Len(), limit)
		}
	}
}

func BenchmarkFindAndAdd(b *testing.B) {
	x, f := prefix.NewIndex(1<<19), newFleet(1000)
	var bodies [][]byte
	for i := range 64 {
		bodies = append(bodies, []byte(`{"model":"m","messages":[{"role":"system","content":"`+text(i, 32)+`"}]}`))
	}
	var room prefix.Chain
	var held []prefix.Held
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		room = prefix.ChainOf(room, "v", prefix.Read(bodies[i%64]))
		held = x.Find(held, room, f.live)
		x.Add(room, f[uint32(1+i%1000)])
	}
}
