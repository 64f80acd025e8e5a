package audit

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/poterne/poterne/services/edge/auditproof"
)

// withContent appends a record with content, as much as n bytes.
func (p proven) withContent(t *testing.T, id string, n int) {
	t.Helper()
	data := bytes.Repeat([]byte(id[:1]), n)
	if !p.Hold(len(data)) {
		t.Fatal("no room")
	}
	rec := sample(1)
	rec.ID, rec.Content = id, sha256.Sum256(data)
	if err := p.AppendWith(t.Context(), &rec, &Sealed{Record: id, Tenant: rec.Tenant, Subject: rec.Subject, Key: "k", Time: rec.Time, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// checkContentsAreKeptAsRecordsAre: with a journal, kill -9 loses none.
func checkContentsAreKeptAsRecordsAre(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink, dir := openSQL(t, dsn(t)), t.TempDir()
	p := begin(t, sink, dir, "a", nil)
	const made = maxBatch + 88
	for i := range made {
		p.withContent(t, fmt.Sprintf("a%03d", i), 100)
	}
	missing := sample(2)
	missing.ID, missing.Content, missing.ContentMissing = "missing", auditproof.Hash{}, true
	missing.CostMicros, missing.Currency = 42, "EUR"
	if err := p.Append(t.Context(), missing); err != nil {
		t.Fatal(err)
	}
	if err := p.writeBatch(t.Context()); err != nil { // the first of them
		t.Fatal(err)
	}
	p.crash()
	next := begin(t, sink, dir, "b", nil)
	if next.left.Records < made+1-maxBatch {
		t.Fatalf("%+v", next.left)
	}
	for i := range made {
		id := fmt.Sprintf("a%03d", i)
		rec, ok, err := sink.Find(t.Context(), "acme", id)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", id, ok, err)
		}
		c, err := sink.Content(t.Context(), id)
		if err != nil || sha256.Sum256(c.Data) != rec.Content || c.Subject != "ada" || !c.Time.Equal(rec.Time) {
			t.Fatalf("%s: %+v, %v", id, c, err)
		}
	}
	filter, err := ParseFilter(`content_missing = true AND cost_micros > 41 AND currency = "EUR"`)
	if err != nil {
		t.Fatal(err)
	}
	if recs, err := sink.List(t.Context(), Query{Filter: filter, Limit: 5}); err != nil || len(recs) != 1 || recs[0].ContentState() != ContentMissing || recs[0].CostMicros != 42 || recs[0].Currency != "EUR" || recs[0].Sum() != recs[0].Hash {
		t.Fatalf("%+v, %v", recs, err)
	}
	if err := next.marks.EndChain(t.Context(), sink, "a"); err != nil {
		t.Fatal(err)
	}
	if r := next.verify(t); r.Found != 0 {
		t.Fatalf("%v", r.Findings)
	}
	// What is changed, put in another's place or taken away is found.
	exec(t, sink.db, `UPDATE edge_audit_contents SET sealed = $1 WHERE record = 'a007'`, []byte("other"))
	exec(t, sink.db, `DELETE FROM edge_audit_contents WHERE record = 'a008'`)
	r := next.verify(t)
	if r.Found != 2 || r.Findings[0].ID != "a007" || r.Findings[0].Kind != "changed" || r.Findings[1].ID != "a008" || r.Findings[1].Kind != "removed" {
		t.Fatalf("%+v", r.Findings)
	}
	// Erased is not removed: the person's key was destroyed after the record.
	exec(t, sink.db, `INSERT INTO edge_audit_content_keys (id, tenant, subject, tenant_key, wrapped, create_time, erase_time, revision)
		VALUES ('k', 'acme', 'ada', 't', '', 1, $1, 1)`, at(50).UnixMicro())
	if n, err := sink.DeleteErased(t.Context()); err != nil || n != made-1 {
		t.Fatalf("%d, %v", n, err)
	}
	if r := next.verify(t); r.Found != 0 {
		t.Fatalf("%+v", r.Findings)
	}
}

// checkContentsEndWithTheirRecords: retention deletes both.
func checkContentsEndWithTheirRecords(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	p := begin(t, sink, t.TempDir(), "a", nil)
	for i := range 3 {
		p.withContent(t, fmt.Sprintf("a%03d", i), 100)
	}
	p.sign(t)
	if n, err := sink.PruneContents(t.Context(), at(50)); err != nil || n != 0 {
		t.Fatalf("contents whose records are kept: %d, %v", n, err)
	}
	if _, err := sink.Prune(t.Context(), at(50), p.keys); err != nil {
		t.Fatal(err)
	}
	if n, err := sink.PruneContents(t.Context(), at(0)); err != nil || n != 0 {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := sink.PruneContents(t.Context(), at(50)); err != nil || n != 3 {
		t.Fatalf("%d, %v", n, err)
	}
	if r := p.verify(t); r.Found != 0 {
		t.Fatalf("%v", r.Findings)
	}
}

// Content has a bound of its own, which is free again once it is written.
func TestContentThatWaitsIsBounded(t *testing.T) {
	sink, dir := openSQL(t, sqliteDSN(t)), t.TempDir()
	p := begin(t, sink, dir, "a", func(c *Config) { c.Content.QueueBytes = 1000 })
	p.withContent(t, "a1", 600)
	if p.Hold(600) {
		t.Fatal("more waits than may")
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !p.Hold(1000) || p.Hold(1) {
		t.Fatal("what was written still counts")
	}
	p.Unhold(1000)

	// A record that finds no room gives its content's room back.
	full := begin(t, sink, t.TempDir(), "b", func(c *Config) { c.QueueSize, c.FullWait, c.Content.QueueBytes = 1, time.Millisecond, 1000 })
	full.add(t, 0, 1)
	if err := full.AppendWith(t.Context(), new(sample(2)), &Sealed{Record: "x", Data: make([]byte, 0)}); err != nil {
		t.Fatal(err)
	}
	full.withContent(t, "a2", 1000)
	if !full.Hold(1000) {
		t.Fatal("a lost record keeps its room")
	}
}
