package audit

import (
	"bytes"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
	"github.com/poterne/poterne/services/edge/internal/explain"
)

// checkDecisionsAreProven: decisions come back as they were, through the journal too,
// and are part of what the chain proves; records without them verify beside.
func checkDecisionsAreProven(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	dir, sink := t.TempDir(), openSQL(t, dsn(t))
	p := begin(t, sink, dir, "a", nil)
	decided := explain.Encode([]explain.Noted{
		{Step: explain.Identity, Outcome: "accepted", Start: time.Millisecond, Attributes: []explain.Attribute{{Name: "by", Value: "é"}}},
		{Step: explain.Answer, Outcome: "answered", Duration: time.Second},
	}, 3)
	p.add(t, 0, 2)
	rec := sample(5)
	rec.ID, rec.Content, rec.Decisions = "with", [32]byte{}, decided
	if err := p.Append(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	found := func(want explain.Encoded) {
		t.Helper()
		recs, err := sink.List(t.Context(), Query{ID: "with", Limit: 2})
		if err != nil || len(recs) != 1 || !bytes.Equal(recs[0].Decisions, want) {
			t.Fatalf("%+v, %v", recs, err)
		}
	}
	p.crash() // before the store had it
	p = begin(t, sink, dir, "b", nil)
	if p.left.Records != 3 {
		t.Fatalf("%+v", p.left)
	}
	found(decided)
	p.add(t, 10, 12)
	p.sign(t)
	if r := p.verify(t); changed(r.Findings) != 0 {
		t.Fatalf("%+v", r)
	}

	exec(t, sink.db, `UPDATE edge_audit SET decisions = NULL WHERE id = 'with'`)
	if r := p.verify(t); changed(r.Findings) != 1 {
		t.Errorf("nobody sees that the decisions are gone: %+v", r)
	}
	exec(t, sink.db, `UPDATE edge_audit SET decisions = $1 WHERE id = 'with'`, []byte(decided))
	if r := p.verify(t); changed(r.Findings) != 0 {
		t.Errorf("%+v", r)
	}
	// The way back and up again: the records stay.
	goose := provider(t, sink.db)
	if _, err := goose.DownTo(t.Context(), 27); err != nil {
		t.Fatal(err)
	}
	if _, err := goose.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	found(nil)
	if r := p.verify(t); changed(r.Findings) != 1 {
		t.Errorf("%+v", r)
	}
}

func changed(findings []auditproof.Finding) (n int) {
	for _, f := range findings {
		if f.Kind == auditproof.Changed && f.ID == "with" {
			n++
		}
	}
	return n
}
