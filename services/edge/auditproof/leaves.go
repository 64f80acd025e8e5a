package auditproof

import (
	"errors"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// Leaves is the part of a chain's tree that proofs are made from: what a smaller tree
// was, and every record since. It is for one goroutine.
type Leaves struct {
	tree   Tree
	levels []level
}

// level is the whole subtrees of 2^n records, from the first that is known.
type level struct {
	first int64
	nodes []Hash
}

// errUnknown says that a proof needs records from before the smaller tree.
var errUnknown = errors.New("auditproof: what the proof needs is from before the records that are known")

// NewLeaves begins with a tree, which may be empty.
func NewLeaves(begin Tree) *Leaves {
	l := &Leaves{tree: begin.Clone(), levels: make([]level, 64)}
	rest := begin.Size
	for i, n := 0, bits.Len64(uint64(begin.Size))-1; n >= 0; n-- {
		l.levels[n].first = begin.Size >> n
		if rest&(1<<n) != 0 {
			l.levels[n] = level{first: begin.Size>>n - 1, nodes: []Hash{begin.Edge[i]}}
			i++
		}
	}
	return l
}

// Add adds the next record by its hash.
func (l *Leaves) Add(h Hash) {
	n := l.tree.Size
	l.tree.Add(h)
	node := Hash(tlog.RecordHash(h[:]))
	for k := 0; ; k++ {
		l.levels[k].nodes = append(l.levels[k].nodes, node)
		if n&(1<<k) == 0 {
			return
		}
		left, err := l.node(k, n>>k-1)
		if err != nil {
			return // not of a whole tree
		}
		node = Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(node)))
	}
}

// Root returns the root of the tree as it is.
func (l *Leaves) Root() Hash { return l.tree.Root() }

// Size returns how many records the tree has.
func (l *Leaves) Size() int64 { return l.tree.Size }

func (l *Leaves) node(k int, i int64) (Hash, error) {
	at := &l.levels[k]
	if i < at.first || i-at.first >= int64(len(at.nodes)) {
		return Hash{}, errUnknown
	}
	return at.nodes[i-at.first], nil
}

// Inclusion proves that the record of that number is in the tree as it is (RFC 6962,
// section 2.1.1).
func (l *Leaves) Inclusion(index int64) ([]Hash, error) {
	if index < 0 || index >= l.tree.Size {
		return nil, errUnknown
	}
	return l.path(0, l.tree.Size, index)
}

func (l *Leaves) path(from, to, index int64) ([]Hash, error) {
	if to-from == 1 {
		return nil, nil
	}
	mid := from + split(to-from)
	within, beside := [2]int64{from, mid}, [2]int64{mid, to}
	if index >= mid {
		within, beside = beside, within
	}
	out, err := l.path(within[0], within[1], index)
	if err != nil {
		return nil, err
	}
	h, err := l.root(beside[0], beside[1])
	return append(out, h), err
}

// Consistency proves that the tree as it is begins with the one of that size (RFC
// 6962, section 2.1.2).
func (l *Leaves) Consistency(size int64) ([]Hash, error) {
	if size < 1 || size > l.tree.Size {
		return nil, errUnknown
	}
	return l.subproof(0, l.tree.Size, size, true)
}

func (l *Leaves) subproof(from, to, size int64, whole bool) ([]Hash, error) {
	if size == to {
		if whole {
			return nil, nil
		}
		h, err := l.root(from, to)
		return []Hash{h}, err
	}
	mid := from + split(to-from)
	var out []Hash
	var h Hash
	var err error
	if size <= mid {
		if out, err = l.subproof(from, mid, size, whole); err == nil {
			h, err = l.root(mid, to)
		}
	} else {
		if out, err = l.subproof(mid, to, size, false); err == nil {
			h, err = l.root(from, mid)
		}
	}
	return append(out, h), err
}

// root is that of the records from one number to before another.
func (l *Leaves) root(from, to int64) (Hash, error) {
	if n := to - from; n&(n-1) == 0 {
		k := bits.TrailingZeros64(uint64(n))
		return l.node(k, from>>k)
	}
	mid := from + split(to-from)
	left, err := l.root(from, mid)
	if err != nil {
		return Hash{}, err
	}
	right, err := l.root(mid, to)
	return Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right))), err
}

// split is the largest power of two that is smaller than n, which is at least 2.
func split(n int64) int64 { return 1 << (bits.Len64(uint64(n-1)) - 1) }

// CheckConsistency verifies a consistency proof between two checkpoints of a chain.
func CheckConsistency(older, newer Checkpoint, proof []Hash) error {
	if older.Chain != newer.Chain || older.Tree.Size < 1 || older.Tree.Size > newer.Tree.Size {
		return errors.New("the checkpoints are not an older and a newer one of one chain")
	}
	p := make(tlog.TreeProof, len(proof))
	for i, h := range proof {
		p[i] = tlog.Hash(h)
	}
	err := tlog.CheckTree(p, newer.Tree.Size, tlog.Hash(newer.Tree.Root()), older.Tree.Size, tlog.Hash(older.Tree.Root()))
	if err != nil {
		return errors.New("the newer checkpoint is of a chain that does not begin as the older one says")
	}
	return nil
}
