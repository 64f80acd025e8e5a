package lexical

import "math/bits"

const (
	// maxContributions bounds the contributions that are collected at once, for
	// queries of up to maxContributions/minWindow words.
	maxContributions = 1 << 16
	minWindow        = 16
	// checkEvery is after how many blocks a search looks whether it was called
	// off.
	checkEvery = 32
	// ranges is how finely blocks are ordered by what is promised of them.
	ranges = 64
	none   = -1
)

// window is one block of a segment as the query sees it.
type window struct {
	bound float64 // the sum of its contributions' bounds
	head  int32   // of its contributions
}

// contribution is what a scorer has in one block.
type contribution struct {
	bound      float64
	start, end uint32 // postings
	scorer     int32
	next       int32
}

// marks says which passages of a block are meant.
type marks []uint64

const blockWords = blockDocs / 64

func (m marks) has(place uint8) bool { return m[place/64]&(1<<(place%64)) != 0 }

func (m marks) empty() bool { return m[0]|m[1]|m[2]|m[3] == 0 }

func (m marks) count() int {
	return bits.OnesCount64(m[0]) + bits.OnesCount64(m[1]) + bits.OnesCount64(m[2]) + bits.OnesCount64(m[3])
}

// scratch is the memory of a search.
type scratch struct {
	model         model
	cursors       []int
	windows       []window
	contributions []contribution
	order         []uint32
	here          []contribution // those of one block
	below         []float64
	first         uint32
	pass          []uint64
	touched       [blockWords]uint64
	sums          [blockDocs]float64 // zero between blocks
}

func (x *Index) scratch() *scratch {
	if s, ok := x.scratches.Get().(*scratch); ok {
		return s
	}
	return &scratch{}
}

// putBack keeps the memory for another search, unless it is too large.
func (x *Index) putBack(s *scratch) {
	if cap(s.contributions) <= 2*maxContributions {
		x.scratches.Put(s)
	}
}

func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
