package auditproof

import (
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// Tree is the right edge of a Merkle tree (RFC 6962, section 2.1) over the hashes
// of a chain's records: of each whole subtree, the larger first, the hash. That is
// enough to add records and to know the root. The zero value is empty.
type Tree struct {
	Size int64
	Edge []Hash
}

// Add adds a record by its hash.
func (t *Tree) Add(h Hash) {
	node := Hash(tlog.RecordHash(h[:]))
	for n := t.Size; n&1 == 1; n >>= 1 {
		last := len(t.Edge) - 1
		node = Hash(tlog.NodeHash(tlog.Hash(t.Edge[last]), tlog.Hash(node)))
		t.Edge = t.Edge[:last]
	}
	t.Edge = append(t.Edge, node)
	t.Size++
}

// Root returns the tree's root; for an empty one the hash of nothing.
func (t *Tree) Root() Hash {
	if len(t.Edge) == 0 {
		h, _ := tlog.TreeHash(0, nil) // of no records nothing is read
		return Hash(h)
	}
	root := t.Edge[len(t.Edge)-1]
	for _, left := range slices.Backward(t.Edge[:len(t.Edge)-1]) {
		root = Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(root)))
	}
	return root
}

// Clone returns a copy.
func (t *Tree) Clone() Tree { return Tree{Size: t.Size, Edge: slices.Clone(t.Edge)} }

// whole reports whether the edge has as many subtrees as a tree of its size.
func (t *Tree) whole() bool { return t.Size >= 0 && len(t.Edge) == bits.OnesCount64(uint64(t.Size)) }
