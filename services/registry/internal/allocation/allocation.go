// Package allocation divides the points of [0, Whole) among owners: those of an
// experiment among its arms, and those of a layer among its experiments. When
// shares change, as few points as can be change hands, and only from owners who
// get less to owners who get more: so a subject, who has one point, is never moved
// between two arms whose shares stay. It knows nothing of who the owners are;
// start reading at Move.
package allocation

import "slices"

// Whole is how many points there are: shares are in millionths.
const Whole = 1_000_000

// Range is the points from Start on and before End, which Owner has.
type Range struct {
	Start, End int32
	Owner      int
}

func (r Range) points() int32 { return r.End - r.Start }

// New gives each owner its share in one piece, in the owners' order. Owners who
// have no share have no range.
func New(shares []int32) []Range {
	var out []Range
	var at int32
	for owner, n := range shares {
		if n > 0 {
			out = append(out, Range{Start: at, End: at + n, Owner: owner})
			at += n
		}
	}
	return out
}

// Move returns ranges in which owner i has shares[i] points. ranges and shares must
// both cover the whole; owners are numbered as in shares. A point changes hands
// only from an owner who has more than its share to one who has less, and their
// number is the least: the sum of what is too much. Points at a border between two
// such owners go first, so that pieces stay few, and that an owner who gives up
// points at a border and takes them again has the same ones. The result is a
// function of the arguments alone.
func Move(ranges []Range, shares []int32) []Range {
	over := make([]int32, len(shares)) // what an owner has beyond its share
	for owner, n := range shares {
		over[owner] = -n
	}
	for _, r := range ranges {
		over[r.Owner] += r.points()
	}
	out := slices.Clone(ranges)
	for {
		at, from, taker := next(out, over)
		if at < 0 {
			return out
		}
		giver := out[at]
		n := min(giver.points(), over[giver.Owner], -over[taker])
		over[giver.Owner] -= n
		over[taker] += n
		out = hand(out, at, from, n, taker)
	}
}

// side is from which end of a range points are taken.
type side int

const (
	bottom side = iota
	top
)

// next returns the range of which points change hands, from which side, and who
// gets them; -1 when everybody has their share.
func next(ranges []Range, over []int32) (at int, from side, taker int) {
	for i, r := range ranges {
		if over[r.Owner] <= 0 {
			continue
		}
		if i > 0 && over[ranges[i-1].Owner] < 0 {
			return i, bottom, ranges[i-1].Owner
		}
		if i+1 < len(ranges) && over[ranges[i+1].Owner] < 0 {
			return i, top, ranges[i+1].Owner
		}
	}
	taker = slices.IndexFunc(over, func(n int32) bool { return n < 0 })
	if taker < 0 {
		return -1, top, -1
	}
	for i, r := range slices.Backward(ranges) {
		if over[r.Owner] > 0 {
			return i, top, taker
		}
	}
	return -1, top, -1
}

// hand gives n points of one side of a range to another owner, and joins what is
// then alike.
func hand(ranges []Range, at int, from side, n int32, taker int) []Range {
	r := ranges[at]
	given, kept := Range{r.Start, r.Start + n, taker}, Range{r.Start + n, r.End, r.Owner}
	pieces := []Range{given, kept}
	if from == top {
		given, kept = Range{r.End - n, r.End, taker}, Range{r.Start, r.End - n, r.Owner}
		pieces = []Range{kept, given}
	}
	return Join(slices.Replace(slices.Clone(ranges), at, at+1, pieces...))
}

// Join returns sorted ranges without empty ones and with neighbours of one owner
// made one.
func Join(ranges []Range) []Range {
	var out []Range
	for _, r := range ranges {
		switch last := len(out) - 1; {
		case r.points() <= 0:
		case last >= 0 && out[last].Owner == r.Owner && out[last].End == r.Start:
			out[last].End = r.End
		default:
			out = append(out, r)
		}
	}
	return out
}
