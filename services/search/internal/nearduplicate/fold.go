package nearduplicate

import (
	"context"
	"math"
	"math/bits"
	"slices"
)

// Fold says of each text, which are ordered best first, which better one it
// repeats: the first that it resembles by Threshold or more and that repeats
// none itself, or -1. The error is ctx's.
func Fold(ctx context.Context, texts []string) ([]int, error) {
	sets := make([]Set, len(texts))
	for i, text := range texts {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		sets[i] = Of(text)
	}
	f := newFolder(sets)
	into := make([]int, len(texts))
	for i := range into {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		rarest := f.rarest(i)
		if into[i] = f.first(i, rarest); into[i] >= 0 {
			continue
		}
		f.hold(i, rarest)
	}
	return into, nil
}

// folder finds the texts that may resemble each other. Two filters leave out
// pairs that are below the threshold, and no others:
//
//   - Of two sets that resemble by t, one has at least t of the other's shingles, so
//     that those which are first of each in any one order have one in common. The
//     order is by how many texts have a shingle, the rarest first: what many share, as
//     the frame of a form, brings none together (C. Xiao, W. Wang, X. Lin and J. Yu,
//     "Efficient similarity joins for near duplicate detection", 2008).
//   - In how many bits two sets' sketches differ, a bit being there for the shingles
//     that fall on it, is no more than how many shingles are in one alone (E. Sandes,
//     G. Teodoro and A. Melo, "Bitmap filter: speeding up exact set similarity joins
//     with bitwise operations", 2020).
//
// Shingles that fall into one place of the tables count as one there.
type folder struct {
	sets     []Set
	sketches []sketch
	texts    []uint32 // how many have a shingle at the place
	held     []int32  // the last of those below, plus one; 0: none
	holders  []holder
	compared []int32 // with which text one was compared last, plus one
	room     []uint64
}

// holder is a text that repeats none and has a shingle among its rarest; before is
// the one before at its place, plus one.
type holder struct{ text, before int32 }

// sketch is a set in one bit for each of the values that hashes have in their
// lowest ten bits.
type sketch [16]uint64

// A shingle is ordered by how many texts have it, its place, and where it is in its
// set, which has the order of hashes.
const (
	maxPlaces = 1 << 20
	placeBits = 20
	setBits   = 22
)

func newFolder(sets []Set) *folder {
	total := 0
	for _, s := range sets {
		total += len(s)
	}
	places := min(maxPlaces, 1<<bits.Len(uint(total)))
	f := &folder{
		sets: sets, sketches: make([]sketch, len(sets)), compared: make([]int32, len(sets)),
		texts: make([]uint32, places), held: make([]int32, places),
	}
	for i, s := range sets {
		for _, h := range s {
			f.sketches[i][h>>6%uint64(len(sketch{}))] |= 1 << (h % 64)
			f.texts[f.place(h)]++
		}
	}
	return f
}

// place is of the bits that a sketch does not look at.
func (f *folder) place(h uint64) uint32 { return uint32(h>>32) & uint32(len(f.texts)-1) }

// rarest returns the places of so many of a text's shingles, those that fewest texts
// have, that two texts which have none of them in common are below the threshold:
// sets that resemble by t share at least t of each one's shingles.
func (f *folder) rarest(i int) []uint64 {
	const most = 1<<(64-placeBits-setBits) - 1
	f.room = f.room[:0]
	for at, h := range f.sets[i] {
		p := f.place(h)
		f.room = append(f.room, uint64(min(f.texts[p], most))<<(placeBits+setBits)|uint64(p)<<setBits|uint64(at%(1<<setBits)))
	}
	slices.Sort(f.room)
	n := len(f.room)
	out := f.room[:min(n, n-int(math.Ceil(Threshold*float64(n)-slack))+1)]
	for j := range out {
		out[j] = out[j] >> setBits % maxPlaces
	}
	return out
}

// hold notes a text that repeats none, where another may look for it.
func (f *folder) hold(i int, rarest []uint64) {
	for _, p := range rarest {
		if f.texts[p] > 1 {
			f.holders = append(f.holders, holder{text: int32(i), before: f.held[p]})
			f.held[p] = int32(len(f.holders))
		}
	}
}

// slack is what rounding may be off by.
const slack = 1e-9

// first returns the first text that the i-th repeats, or -1.
func (f *folder) first(i int, rarest []uint64) int {
	best := -1
	for _, p := range rarest {
		for at := f.held[p]; at > 0; at = f.holders[at-1].before {
			j := f.holders[at-1].text
			if best >= 0 && int(j) >= best || f.compared[j] == int32(i)+1 {
				continue
			}
			f.compared[j] = int32(i) + 1
			if f.resemble(int(j), i) {
				best = int(j)
			}
		}
	}
	return best
}

func (f *folder) resemble(i, j int) bool {
	a, b := f.sets[i], f.sets[j]
	need := int(math.Ceil(Threshold/(1+Threshold)*float64(len(a)+len(b)) - slack)) // in common
	apart := 0
	for w, x := range f.sketches[i] {
		apart += bits.OnesCount64(x ^ f.sketches[j][w])
	}
	return (len(a)+len(b)-apart)/2 >= need && Resemblance(a, b) >= Threshold
}
