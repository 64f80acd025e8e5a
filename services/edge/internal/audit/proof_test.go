package audit

import (
	"context"
	"crypto/rand"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/auditproof"
)

// proven is a trail with all that proves it.
type proven struct {
	*Trail
	sink  *SQLSink
	keys  *Keys
	marks *Checkpointer
	reg   auditproof.Registration
	left  Replayed
}

// begin opens a trail as a process does, with its journal and key in dir.
func begin(tb testing.TB, sink *SQLSink, dir, chain string, change func(*Config)) proven {
	tb.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	keys, err := LoadKeys(filepath.Join(dir, "audit.key"), rand.Reader, nil)
	if err != nil {
		tb.Fatal(err)
	}
	j, err := OpenJournal(filepath.Join(dir, "journal"), cfg.Journal.Sync)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = j.Close(-1) })
	p := proven{sink: sink, keys: keys}
	if p.left, err = j.Replay(tb.Context(), sink); err != nil {
		tb.Fatal(err)
	}
	p.Trail = NewTrail(cfg, sink, clock.Real(), slog.New(slog.DiscardHandler), nil)
	if p.reg, err = sink.Register(tb.Context(), chain, keys.Own(), time.Now()); err != nil {
		tb.Fatal(err)
	}
	if err := p.Proven(NewChain(p.reg), j); err != nil {
		tb.Fatal(err)
	}
	if p.marks, err = NewCheckpointer(cfg.Checkpoints, p.Trail, sink, keys, clock.Real(), slog.New(slog.DiscardHandler), nil); err != nil {
		tb.Fatal(err)
	}
	return p
}

func (p proven) add(tb testing.TB, from, to int) {
	tb.Helper()
	for i := from; i < to; i++ {
		r := sample(i)
		r.Content = auditproof.Hash{} // none is kept here
		r.ID = p.reg.Chain + "-" + r.ID
		if err := p.Append(tb.Context(), r); err != nil {
			tb.Fatal(err)
		}
	}
}

func (p proven) sign(tb testing.TB) {
	tb.Helper()
	if err := p.marks.Sign(tb.Context(), false); err != nil {
		tb.Fatal(err)
	}
}

func (p proven) verify(tb testing.TB, elsewhere ...string) auditproof.Report {
	tb.Helper()
	report, err := p.Verify(tb.Context(), p.sink, p.keys, VerifyRange{Checkpoints: elsewhere}, func(int64) error { return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return report
}

// crash drops the process's hold on the journal, as kill -9 does.
func (p proven) crash() { _ = p.journal.lock.Close(); p.journal.lock = nil }

func TestProofOnSQLite(t *testing.T) {
	testProof(t, func(t *testing.T) string { t.Helper(); return sqliteDSN(t) })
}

// testProof holds for every store; dsn returns an empty database.
func testProof(t *testing.T, dsn func(t *testing.T) string) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, func(*testing.T) string){
		"what was not touched verifies":      checkWhatWasNotTouchedVerifies,
		"decisions are proven":               checkDecisionsAreProven,
		"contents are kept as records are":   checkContentsAreKeptAsRecordsAre,
		"contents end with their records":    checkContentsEndWithTheirRecords,
		"records survive the way back":       checkRecordsSurviveTheWayBack,
		"a selection is proven":              checkASelectionIsProven,
		"records from before the chains":     checkRecordsFromBeforeTheChains,
		"tampering is named":                 checkTampering,
		"a rewritten chain":                  checkARewrittenChain,
		"a chain that is gone":               checkAChainThatIsGone,
		"retention keeps the chain provable": checkRetentionKeepsTheChainProvable,
		"a killed process loses nothing":     checkAKilledProcessLosesNothing,
		"filters":                            checkFilters,
	} {
		t.Run(name, func(t *testing.T) { check(t, dsn) })
	}
}

func checkWhatWasNotTouchedVerifies(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	p := begin(t, sink, t.TempDir(), "a", nil)
	for i := range 10 {
		p.add(t, 10*i, 10*i+10)
		p.sign(t)
	}
	p.add(t, 100, 117)
	r := p.verify(t)
	if r.Found != 0 || r.Records != 117 || len(r.Chains) != 1 || r.Chains[0].Checkpoints != 10 || r.Chains[0].Proven != 100 {
		t.Fatalf("%+v", r)
	}
}

func checkRecordsFromBeforeTheChains(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	old := samples(7)
	for i := range old {
		old[i].Sequence, old[i].Time = 0, at(i).AddDate(-5, 0, 0)
	}
	if err := sink.Write(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	p := begin(t, sink, t.TempDir(), "a", nil)
	p.add(t, 10, 20)
	r := p.verify(t)
	if r.Found != 0 || r.Unchained != 7 || r.Records != 10 || !r.Begins.Equal(p.reg.Time) {
		t.Fatalf("%+v", r)
	}
	one := sample(99)
	one.Sequence, one.Time = 0, old[0].Time
	if err := sink.Write(t.Context(), []Record{one}); err != nil {
		t.Fatal(err)
	}
	if r := p.verify(t); r.Found != 1 || r.Findings[0].Kind != auditproof.Inserted || r.Findings[0].ID == "" {
		t.Fatalf("one more from before: %+v", r.Findings)
	}
}

// Every way of changing the table is found, and the record is named.
func checkTampering(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	dir := t.TempDir()
	sink := openSQL(t, dsn(t))
	p := begin(t, sink, dir, "a", nil)
	const n = 60
	for i := range 3 {
		p.add(t, 20*i, 20*i+20)
		p.sign(t)
	}
	for name, tc := range map[string]struct {
		sql      string
		kind     string
		from, to int64
	}{
		"a text":             {`UPDATE edge_audit SET subject = 'bob' WHERE sequence = 17`, auditproof.Changed, 17, 17},
		"a number":           {`UPDATE edge_audit SET prompt_tokens = 1 WHERE sequence = 0`, auditproof.Changed, 0, 0},
		"a list":             {`UPDATE edge_audit SET findings = '' WHERE sequence = 59`, auditproof.Changed, 59, 59},
		"a time":             {`UPDATE edge_audit SET time_us = time_us + 1 WHERE sequence = 30`, auditproof.Changed, 30, 30},
		"a hash":             {`UPDATE edge_audit SET hash = previous_hash WHERE sequence = 30`, auditproof.Changed, 30, 30},
		"one is gone":        {`DELETE FROM edge_audit WHERE sequence = 33`, auditproof.Removed, 33, 33},
		"the first are gone": {`DELETE FROM edge_audit WHERE sequence < 5`, auditproof.Removed, 0, 4},
		"the last are gone":  {`DELETE FROM edge_audit WHERE sequence >= 55`, auditproof.Truncated, 55, 59},
		"all are gone":       {`DELETE FROM edge_audit`, auditproof.Truncated, 0, 59},
		"two are exchanged":  {`UPDATE edge_audit SET sequence = CASE sequence WHEN -10 THEN 11 ELSE -sequence END WHERE sequence IN (10, -10)`, auditproof.Reordered, 10, 10},
	} {
		t.Run(name, func(t *testing.T) {
			undo := backup(t, sink)
			defer undo()
			sql := tc.sql
			if name == "two are exchanged" {
				for _, s := range []string{
					`UPDATE edge_audit SET sequence = 1000 WHERE sequence = 10`, `UPDATE edge_audit SET sequence = 10 WHERE sequence = 11`,
					`UPDATE edge_audit SET sequence = 11 WHERE sequence = 1000`,
				} {
					if _, err := sink.db.ExecContext(t.Context(), s); err != nil {
						t.Fatal(err)
					}
				}
			} else if _, err := sink.db.ExecContext(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
			r := p.verify(t)
			if r.Found == 0 {
				t.Fatal("nothing is found")
			}
			if f := r.Findings[0]; f.Kind != tc.kind || f.From != tc.from || f.To != tc.to {
				t.Fatalf("%s, want %s of %d to %d", f, tc.kind, tc.from, tc.to)
			}
		})
	}
	if r := p.verify(t); r.Found != 0 || r.Records != n {
		t.Fatalf("at the end: %+v", r)
	}
}

// backup returns what brings the table back as it is.
func backup(t *testing.T, sink *SQLSink) func() {
	t.Helper()
	exec := func(sql string) {
		if _, err := sink.db.ExecContext(context.WithoutCancel(t.Context()), sql); err != nil {
			t.Error(err)
		}
	}
	exec(`CREATE TABLE kept AS SELECT * FROM edge_audit`)
	return func() {
		exec(`DELETE FROM edge_audit`)
		exec(`INSERT INTO edge_audit SELECT * FROM kept`)
		exec(`DROP TABLE kept`)
	}
}

// Who can write to the store and knows how hashes are made makes a chain that is
// right in itself; the checkpoints tell.
func checkARewrittenChain(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	p := begin(t, sink, t.TempDir(), "a", nil)
	p.add(t, 0, 20)
	p.sign(t)
	p.add(t, 20, 40)
	p.sign(t)
	var all []Record
	if err := sink.Chained(t.Context(), "a", 0, func(r Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	head := p.reg.Hash
	for i := range all {
		if i == 25 {
			all[i].Subject = "nobody"
		}
		all[i].Previous = head
		all[i].Hash = all[i].Sum()
		head = all[i].Hash
	}
	if _, err := sink.db.ExecContext(t.Context(), `DELETE FROM edge_audit`); err != nil {
		t.Fatal(err)
	}
	if err := sink.Write(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	r := p.verify(t)
	if r.Found == 0 || r.Findings[0].Kind != auditproof.Changed || r.Findings[0].From != 20 || r.Findings[0].To != 39 {
		t.Fatalf("%+v", r.Findings)
	}
	// Without the later checkpoint in the store, one kept elsewhere tells.
	texts, err := sink.Checkpoints(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sink.db.ExecContext(t.Context(), `DELETE FROM edge_audit_checkpoints WHERE size = 40`); err != nil {
		t.Fatal(err)
	}
	if r := p.verify(t, texts[len(texts)-1]); r.Found == 0 {
		t.Fatal("a checkpoint from elsewhere is not looked at")
	}
}

func checkAChainThatIsGone(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		p := begin(t, sink, dir, name, nil)
		p.add(t, 0, 5)
		if err := p.marks.Sign(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if err := p.stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p := begin(t, sink, dir, "c", nil)
	if r := p.verify(t); r.Found != 0 || len(r.Chains) != 3 {
		t.Fatalf("%+v", r)
	}
	for _, table := range []string{"edge_audit", "edge_audit_chains", "edge_audit_checkpoints"} {
		if _, err := sink.db.ExecContext(t.Context(), `DELETE FROM `+table+` WHERE chain = 'b'`); err != nil {
			t.Fatal(err)
		}
	}
	if r := p.verify(t); r.Found == 0 || r.Findings[0].Kind != auditproof.Removed {
		t.Fatalf("%+v", r.Findings)
	}
}

func checkRetentionKeepsTheChainProvable(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	p := begin(t, sink, t.TempDir(), "a", nil)
	for i := range 6 {
		p.add(t, 10*i, 10*i+10)
		p.sign(t)
	}
	n, err := sink.Prune(t.Context(), at(35), p.keys)
	if err != nil || n != 30 {
		t.Fatalf("%d deleted, %v", n, err)
	}
	r := p.verify(t)
	if r.Found != 0 || r.Chains[0].From != 30 || r.Chains[0].Proven != 60 {
		t.Fatalf("%+v", r)
	}
	if _, err := sink.db.ExecContext(t.Context(), `DELETE FROM edge_audit WHERE sequence < 32`); err != nil {
		t.Fatal(err)
	}
	if r := p.verify(t); r.Found != 1 || r.Findings[0].Kind != auditproof.Removed || r.Findings[0].To != 31 {
		t.Fatalf("deleted by somebody else: %+v", r.Findings)
	}
	// What does not verify is not pruned either: that would hide it.
	if n, err := sink.Prune(t.Context(), at(55), p.keys); err == nil || n != 0 {
		t.Fatalf("%d deleted, %v", n, err)
	}
}
