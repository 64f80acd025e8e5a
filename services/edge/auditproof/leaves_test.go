package auditproof_test

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"github.com/poterne/poterne/services/edge/auditproof"
)

func leaf(i int64) auditproof.Hash { return sha256.Sum256(fmt.Append(nil, i)) }

func tree(size int64) (t auditproof.Tree) {
	for i := range size {
		t.Add(leaf(i))
	}
	return t
}

// From every smaller tree, every record after it and every size after it is proven
// to every larger one.
func TestProofsFromEveryTree(t *testing.T) {
	const most = 40
	for begin := range int64(most) {
		l := auditproof.NewLeaves(tree(begin))
		for size := begin + 1; size <= most; size++ {
			l.Add(leaf(size - 1))
			whole := tree(size)
			if l.Root() != whole.Root() || l.Size() != size {
				t.Fatalf("from %d to %d: another root", begin, size)
			}
			cp := auditproof.Checkpoint{Chain: "c", Tree: whole}
			for index := range size {
				proof, err := l.Inclusion(index)
				if err != nil && index >= begin {
					t.Fatalf("record %d from %d to %d: %v", index, begin, size, err)
				}
				if err == nil && !included(t, proof, cp, index) {
					t.Fatalf("record %d from %d to %d: the proof does not hold", index, begin, size)
				}
			}
			for older := max(begin, 1); older <= size; older++ {
				proof, err := l.Consistency(older)
				if err != nil {
					t.Fatalf("size %d from %d to %d: %v", older, begin, size, err)
				}
				if err := auditproof.CheckConsistency(auditproof.Checkpoint{Chain: "c", Tree: tree(older)}, cp, proof); err != nil {
					t.Fatalf("size %d from %d to %d: %v", older, begin, size, err)
				}
				other := tree(older - 1)
				other.Add(leaf(-1))
				if auditproof.CheckConsistency(auditproof.Checkpoint{Chain: "c", Tree: other}, cp, proof) == nil {
					t.Fatalf("size %d from %d to %d: a fork is consistent", older, begin, size)
				}
			}
		}
	}
}

// included rebuilds the root by hand, as RFC 9162 (section 2.1.3.2) does.
func included(t *testing.T, proof []auditproof.Hash, cp auditproof.Checkpoint, index int64) bool {
	t.Helper()
	h := sha256.Sum256(append([]byte{0}, hashBytes(leaf(index))...))
	fn, sn := index, cp.Tree.Size-1
	for _, p := range proof {
		if fn&1 == 1 || fn == sn {
			h = sha256.Sum256(append(append([]byte{1}, p[:]...), h[:]...))
			for fn&1 == 0 && fn != 0 {
				fn, sn = fn>>1, sn>>1
			}
		} else {
			h = sha256.Sum256(append(append([]byte{1}, h[:]...), p[:]...))
		}
		fn, sn = fn>>1, sn>>1
	}
	return sn == 0 && auditproof.Hash(h) == cp.Tree.Root()
}

func hashBytes(h auditproof.Hash) []byte { return h[:] }

func TestInclusionIsOfOneRecord(t *testing.T) {
	private, public, err := note.GenerateKey(rand.Reader, auditproof.KeyName)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := auditproof.Keys(public)
	if err != nil {
		t.Fatal(err)
	}
	l := auditproof.NewLeaves(auditproof.Tree{})
	var recs []auditproof.Record
	var whole auditproof.Tree
	for i := range int64(5) {
		r := auditproof.Record{ID: fmt.Sprint(i), Chain: "c", Sequence: i, Tenant: "acme", Time: time.Unix(i, 0)}
		r.Hash = r.Sum()
		l.Add(r.Hash)
		whole.Add(r.Hash)
		recs = append(recs, r)
	}
	cp := auditproof.Checkpoint{Chain: "c", Tree: whole, Head: recs[4].Hash, Time: time.Unix(9, 0)}
	text, err := cp.Sign(signer)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := l.Inclusion(3)
	if err != nil {
		t.Fatal(err)
	}
	p, err := auditproof.ReadInclusion(auditproof.Inclusion{Index: 3, Hashes: hashes, Checkpoint: text}.Text())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Verify(&recs[3], keys); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Verify(&recs[2], keys); err == nil {
		t.Error("it holds for another record")
	}
	changed := recs[3]
	changed.Tenant = "other"
	if _, err := p.Verify(&changed, keys); err == nil {
		t.Error("it holds for a changed record")
	}
	changed.Hash = changed.Sum()
	if _, err := p.Verify(&changed, keys); err == nil {
		t.Error("it holds for a changed record with its hash")
	}
	if _, err := p.Verify(&recs[3], note.VerifierList()); err == nil {
		t.Error("it holds without a known key")
	}
	forged := p
	forged.Checkpoint = strings.Replace(text, "\n5\n", "\n6\n", 1)
	if _, err := forged.Verify(&recs[3], keys); err == nil {
		t.Error("it holds with a forged checkpoint")
	}
}

func FuzzReadInclusion(f *testing.F) {
	f.Add(auditproof.Inclusion{Index: 3, Hashes: []auditproof.Hash{{1}}, Checkpoint: "poterne/audit/c\n1\nx\n\n- x"}.Text())
	f.Fuzz(func(t *testing.T, text string) {
		p, err := auditproof.ReadInclusion(text)
		if err == nil && p.Text() != text {
			t.Errorf("%q was read as %q", text, p.Text())
		}
	})
}
