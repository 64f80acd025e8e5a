package audit

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// checkASelectionIsProven: a tenant's records verify without the others', also behind
// what retention deleted, and nothing else does.
func checkASelectionIsProven(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	p := begin(t, sink, t.TempDir(), "a", nil)
	add := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			r := sample(i)
			r.Content = auditproof.Hash{}
			if i%3 == 0 {
				r.Tenant = "other"
			}
			if err := p.Append(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		p.sign(t)
	}
	var marks []auditproof.Checkpoint
	for i := range 5 {
		add(10*i, 10*i+10)
		marks = append(marks, p.state())
	}
	p.add(t, 50, 53)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	export := func(q Query) (out []ProvenRecord, keys []string) {
		t.Helper()
		err := sink.Proofs(t.Context(), q, p.keys, func(k []string) error { keys = k; return nil },
			func(recs []ProvenRecord) error { out = append(out, recs...); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return out, keys
	}
	verify := func(recs []ProvenRecord, kept ...string) *auditproof.Selection {
		t.Helper()
		s := auditproof.NewSelection(p.keys.Verifiers())
		for _, text := range kept {
			s.Checkpoint(text)
		}
		for _, r := range recs {
			s.Record(r.Record, r.Proof)
		}
		return s
	}
	theirs, keys := export(Query{Tenant: "other"})
	if len(theirs) != 17 || !slices.Equal(keys, []string{p.keys.Own()}) {
		t.Fatalf("%d records, keys %v", len(theirs), keys)
	}
	texts, err := sink.Checkpoints(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if s := verify(theirs, texts...); s.Report().Found != 0 || s.Unproven != 0 {
		t.Fatalf("%+v", s.Report())
	}
	filter, err := ParseFilter(`request_id = "req-7" OR request_id = "req-51"`)
	if err != nil {
		t.Fatal(err)
	}
	some, _ := export(Query{Filter: filter})
	if s := verify(some); len(some) != 2 || s.Report().Found != 0 || s.Unproven != 1 {
		t.Fatalf("%d, %+v", len(some), s.Report())
	}

	for name, change := range map[string]func(r *ProvenRecord){
		"a changed record":        func(r *ProvenRecord) { r.Subject = "eve" },
		"one with its hash":       func(r *ProvenRecord) { r.Subject = "eve"; r.Hash = r.Sum() },
		"another one's proof":     func(r *ProvenRecord) { r.Proof = theirs[4].Proof },
		"a proof that is not one": func(r *ProvenRecord) { r.Proof = strings.Replace(r.Proof, "index", "indexx", 1) },
		"one record twice":        func(r *ProvenRecord) { *r = theirs[4] },
	} {
		recs := slices.Clone(theirs)
		change(&recs[3])
		if r := verify(recs).Report(); r.Found != 1 {
			t.Errorf("%s: %+v", name, r.Findings)
		}
	}
	forked := auditproof.Checkpoint{Chain: "a", Time: at(1)}
	for range 10 {
		forked.Tree.Add(auditproof.Hash{9})
	}
	fork, err := p.keys.Sign(forked)
	if err != nil {
		t.Fatal(err)
	}
	if r := verify(theirs, fork).Report(); r.Found == 0 || !strings.Contains(r.Findings[0].Detail, "forked") {
		t.Errorf("%+v", r)
	}

	for i, older := range marks {
		for _, newer := range marks[i:] {
			proof, err := sink.Consistency(t.Context(), "a", older.Tree.Size, newer.Tree.Size, p.keys)
			if err != nil {
				t.Fatal(err)
			}
			if err := auditproof.CheckConsistency(older, newer, proof); err != nil {
				t.Errorf("from %d to %d: %v", older.Tree.Size, newer.Tree.Size, err)
			}
		}
	}
	consistent := func(ctx context.Context, chain string, from, to int64) error {
		_, err := sink.Consistency(ctx, chain, from, to, p.keys)
		return err
	}
	if consistent(t.Context(), "a", 10, 51) == nil || consistent(t.Context(), "b", 1, 2) == nil || consistent(t.Context(), "a", 20, 10) == nil {
		t.Error("what is not signed is proven")
	}

	if _, err := sink.Prune(t.Context(), at(25), p.keys); err != nil {
		t.Fatal(err)
	}
	left, _ := export(Query{Tenant: "other"})
	if s := verify(left); len(left) != 10 || s.Report().Found != 0 || s.Unproven != 0 {
		t.Fatalf("behind retention: %d, %+v", len(left), s.Report())
	}
	if err := consistent(t.Context(), "a", 30, 50); err != nil {
		t.Error(err)
	}
	if consistent(t.Context(), "a", 10, 50) == nil {
		t.Error("what was deleted is proven")
	}
	exec(t, sink.db, `UPDATE edge_audit SET hash = previous_hash WHERE sequence = 31`)
	if err := sink.Proofs(t.Context(), Query{Tenant: "other"}, p.keys, func([]string) error { return nil }, func([]ProvenRecord) error { return nil }); err == nil {
		t.Error("a chain that does not verify is proven")
	}
}
