package audit

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/auditproof"
)

const goldenHash = "ddde0a5ae718980e119e5c3152a1f92b51ce4e2ea012e1b1c7997985d7072539"

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

func (p proven) add(t testing.TB, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		r := sample(i)
		r.ID = p.reg.Chain + "-" + r.ID
		if err := p.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func (p proven) sign(t testing.TB) {
	t.Helper()
	if err := p.marks.Sign(t.Context(), false); err != nil {
		t.Fatal(err)
	}
}

func (p proven) verify(t testing.TB, elsewhere ...string) auditproof.Report {
	t.Helper()
	report, err := p.Verify(t.Context(), p.sink, p.keys, VerifyRange{Checkpoints: elsewhere}, func(int64) error { return nil })
	if err != nil {
		t.Fatal(err)
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

func checkFilters(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	recs := samples(4)
	recs[1].Decision, recs[1].Tenant, recs[1].Findings, recs[1].Review = Allowed, "globex_1", nil, false
	recs[2].ServedBy, recs[2].Resource = "other@v1 q4", "model/%"
	if err := sink.Write(t.Context(), recs); err != nil {
		t.Fatal(err)
	}
	for filter, want := range map[string]int{
		`decision = "refused"`: 3, `decision != "refused"`: 1, `tenant = "globex_1"`: 1, `tenant = "globex?1"`: 0, `tenant = "glo*"`: 1,
		`tenant = "globexx1"`: 0, `model = "m"`: 3, `model = "other"`: 1, `served_by = "m@*"`: 3, `findings:"waf/"`: 3, `findings:"%"`: 0,
		`review = true`: 3, `time >= "2026-05-01T12:00:02Z"`: 2, `duration_ms > 1.4`: 4, `duration_ms > 1.6`: 0, `prompt_tokens = 12`: 4,
		`documents:"c/d"`: 4, `NOT decision = "refused"`: 1, `tenant = "acme" AND (review = true OR policy = "x")`: 3, `policy:*`: 4,
		`method = "/poterne.edge.v1.OpenAIService/*" AND subject = "ada'; DROP TABLE edge_audit; --"`: 0, `resource = "model/%"`: 1,
	} {
		f, err := ParseFilter(filter)
		if err != nil {
			t.Errorf("%s: %v", filter, err)
			continue
		}
		got, err := sink.List(t.Context(), Query{Filter: f, Limit: 10})
		if err != nil || len(got) != want {
			t.Errorf("%s: %d records, want %d; %v", filter, len(got), want, err)
		}
	}
	for _, filter := range []string{`decision`, `foo = 1`, `time > 3`, `review = maybe`, `has(x)`, `tenant = "`, strings.Repeat("(", 40), "decision = \"\xff\""} {
		if _, err := ParseFilter(filter); err == nil {
			t.Errorf("%q is taken", filter)
		}
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add(`decision = "refused" AND (time > "2026-05-01T12:00:00Z" OR NOT findings:"waf")`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseFilter(text)
		if err == nil && strings.Count(got.sql, "$") != len(got.args) {
			t.Fatalf("%q has %d arguments", got.sql, len(got.args))
		}
	})
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

// A process that is killed has in its journal what its store lacks, once.
func checkAKilledProcessLosesNothing(t *testing.T, dsn func(*testing.T) string) {
	t.Helper()
	sink := openSQL(t, dsn(t))
	dir := t.TempDir()
	p := begin(t, sink, dir, "a", nil)
	p.add(t, 0, 10)
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.add(t, 10, 25)
	begun := sample(30)
	if err := p.Begin(t.Context(), begun); err != nil {
		t.Fatal(err)
	}
	p.crash()
	path := filepath.Join(dir, "journal", "a-000001"+journalSuffix)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"record":{"id":"ha`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	for _, chain := range []string{"b", "c"} { // the first dies while it takes over
		p = begin(t, sink, dir, chain, nil)
		if p.left.Records != 25 || p.left.Skipped != 1 || len(p.left.Unfinished) != 1 || p.left.Unfinished[0].Reason != Unfinished {
			t.Fatalf("%+v", p.left)
		}
		if chain == "b" {
			p.crash()
		}
	}
	if err := p.Append(t.Context(), p.left.Unfinished[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.marks.EndChain(t.Context(), sink, "a"); err != nil {
		t.Fatal(err)
	}
	if r := p.verify(t); r.Found != 0 || r.Records != 26 || r.Chains[0].Proven != 25 {
		t.Fatalf("%+v", r)
	}
	if err := p.left.Done(); err != nil {
		t.Fatal(err)
	}
	if err := p.stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "journal", "*"+journalSuffix))
	if len(left) != 0 {
		t.Fatalf("left in the journal: %v", left)
	}
}

func TestTwoProcessesNeverShareAJournal(t *testing.T) {
	dir := t.TempDir()
	j, err := OpenJournal(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close(-1)
	if _, err := OpenJournal(dir, false); err == nil {
		t.Fatal("no error")
	}
}

func TestTheJournalDoesNotGrow(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	dir := t.TempDir()
	p := begin(t, sink, dir, "a", nil)
	big := strings.Repeat("x", 400_000)
	for i := range 60 {
		r := sample(i)
		r.Resource = big
		if err := p.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if i%5 == 4 {
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	var total int64
	files, _ := filepath.Glob(filepath.Join(dir, "journal", "*"+journalSuffix))
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		total += info.Size()
	}
	if total > 2*segmentBytes {
		t.Fatalf("%d bytes in %d files", total, len(files))
	}
}

// Ten thousand random changes to what the store holds, of every kind: none is missed.
func TestTenThousandTamperings(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	p := begin(t, sink, t.TempDir(), "a", nil)
	for i := range 4 {
		p.add(t, 3*i, 3*i+3)
		p.sign(t)
	}
	var all []Record
	if err := sink.Chained(t.Context(), "a", 0, func(r Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	texts, err := sink.Checkpoints(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	run := func(recs []Record) auditproof.Report {
		v := auditproof.NewVerifier(auditproof.Options{Keys: p.keys.Verifiers(), Registered: true})
		v.Registration(p.reg)
		for _, text := range texts {
			v.Checkpoint(text)
		}
		for _, r := range recs {
			v.Record(r)
		}
		return v.Finish()
	}
	if r := run(all); r.Found != 0 {
		t.Fatalf("%+v", r.Findings)
	}
	rng := mathrand.New(mathrand.NewPCG(1, 2))
	kinds := tamperings()
	for i := range 10_000 {
		name := kinds[i%len(kinds)].name
		recs, named := kinds[i%len(kinds)].do(rng, append([]Record(nil), all...))
		r := run(recs)
		if r.Found == 0 {
			t.Fatalf("%d: %s of record %d is not found", i, name, named)
		}
		if !covers(r.Findings, named) {
			t.Fatalf("%d: %s of record %d: not named by %v", i, name, named, r.Findings)
		}
	}
}

func covers(found []auditproof.Finding, n int64) bool {
	for _, f := range found {
		// With new numbers the end is missing, and what was last signed says from where.
		if f.Kind == auditproof.Truncated {
			f.From -= f.From % 3
		}
		if f.From <= n && n <= f.To {
			return true
		}
	}
	return false
}

type tampering struct {
	name string
	// do returns the records as they are then, and the number of one that must be named.
	do func(rng *mathrand.Rand, recs []Record) ([]Record, int64)
}

func tamperings() []tampering {
	pick := func(rng *mathrand.Rand, recs []Record) int { return rng.IntN(len(recs)) }
	return []tampering{
		{"a change", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			spoil(rng, &recs[i])
			return recs, int64(i)
		}},
		{"a change with its hash", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			spoil(rng, &recs[i])
			recs[i].Hash = recs[i].Sum()
			return recs, int64(i)
		}},
		{"a change with all hashes after it", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			spoil(rng, &recs[i])
			relink(recs, i)
			return recs, int64(i)
		}},
		{"a removal", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			return append(recs[:i], recs[i+1:]...), int64(i)
		}},
		{"a removal with new numbers and hashes", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			recs = append(recs[:i], recs[i+1:]...)
			relink(recs, i)
			return recs, int64(i)
		}},
		{"an insertion with new numbers and hashes", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			one := recs[i]
			one.ID = fmt.Sprintf("extra-%d", rng.Int64())
			recs = append(recs[:i], append([]Record{one}, recs[i:]...)...)
			relink(recs, i)
			return recs, int64(i)
		}},
		{"an insertion", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			one := recs[i]
			one.ID = "extra"
			return append(recs[:i+1], append([]Record{one}, recs[i+1:]...)...), int64(i)
		}},
		{"an exchange of numbers", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i, j := pick(rng, recs), pick(rng, recs)
			for i == j {
				j = pick(rng, recs)
			}
			recs[i], recs[j] = recs[j], recs[i]
			recs[i].Sequence, recs[j].Sequence = int64(i), int64(j)
			return recs, int64(i)
		}},
		{"an exchange with hashes", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := rng.IntN(len(recs) - 1)
			recs[i], recs[i+1] = recs[i+1], recs[i]
			relink(recs, i)
			return recs, int64(i)
		}},
		{"an exchange of lines", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := rng.IntN(len(recs) - 1)
			recs[i], recs[i+1] = recs[i+1], recs[i]
			return recs, int64(i)
		}},
		{"a truncation", func(rng *mathrand.Rand, recs []Record) ([]Record, int64) {
			i := pick(rng, recs)
			return recs[:i], int64(i)
		}},
	}
}

// relink gives the records from i on right numbers and hashes.
func relink(recs []Record, i int) {
	for ; i < len(recs); i++ {
		if i > 0 {
			recs[i].Previous = recs[i-1].Hash
		}
		recs[i].Sequence = int64(i)
		recs[i].Hash = recs[i].Sum()
	}
}

// spoil changes one thing that a record says.
func spoil(rng *mathrand.Rand, r *Record) {
	texts := []*string{
		&r.ID, &r.RequestID, &r.Tenant, &r.Subject, &r.KeyID, &r.Method, &r.Resource, &r.Decision, &r.Reason, &r.Address,
		&r.ServedBy, &r.Experiment, &r.Arm, &r.Policy, &r.Rule, &r.Cache,
	}
	switch n := rng.IntN(len(texts) + 8); n {
	case len(texts):
		r.Time = r.Time.Add(time.Duration(1+rng.IntN(1000)) * time.Microsecond)
	case len(texts) + 1:
		r.Duration += time.Microsecond
	case len(texts) + 2:
		r.PromptTokens++
	case len(texts) + 3:
		r.CompletionTokens--
	case len(texts) + 4:
		r.Review = !r.Review
	case len(texts) + 5:
		r.Findings = append([]string{"x"}, r.Findings...)
	case len(texts) + 6:
		r.Documents = nil
	case len(texts) + 7:
		r.Content[rng.IntN(32)] ^= 1 << rng.IntN(8)
	default:
		*texts[n] += string(rune('a' + rng.IntN(26)))
	}
}

// What a request pays for its record: making it, linking it and the journal.
func BenchmarkAppend(b *testing.B) {
	sink := openSQL(b, sqliteDSN(b))
	p := begin(b, sink, b.TempDir(), "a", func(c *Config) { c.QueueSize = 1 << 20 })
	r := sample(1)
	b.ReportAllocs()
	before := cpuTime(b)
	n := 0
	for b.Loop() {
		if err := p.Append(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if n++; n%4096 == 0 {
			b.StopTimer() // the sink has them, in time that no request waits for
			at := cpuTime(b)
			p.remove(len(p.queue))
			before += cpuTime(b) - at
			b.StartTimer()
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(n), "cpu-ns/op")
}

// cpuTime is what this process has used of the processors.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// What is measured by hand of a record: version 1 of the form never changes.
func TestGolden(t *testing.T) {
	r := sample(3)
	r.Chain, r.Sequence, r.Previous, r.Hash = "golden", 7, auditproof.Hash{9}, auditproof.Hash{}
	r.Normalise()
	if got := r.Sum().String(); got != goldenHash {
		t.Fatalf("the hash of the same record is %s now: old trails would not verify", got)
	}
}

func TestNothingIsChangedThatCannotBeRecorded(t *testing.T) {
	sink := openSQL(t, sqliteDSN(t))
	p := begin(t, sink, t.TempDir(), "a", func(c *Config) { c.OnFull = FullRefuse })
	if err := p.Begin(t.Context(), sample(1)); err != nil {
		t.Fatal(err)
	}
	_ = p.journal.file.Close() // as a disk that is gone
	if err := p.Begin(t.Context(), sample(2)); apierr.ReasonOf(err) != apierr.Unavailable {
		t.Fatalf("%v", err)
	}
	if err := p.Admit(t.Context()); apierr.ReasonOf(err) != apierr.Unavailable || p.Refusing() == nil {
		t.Fatalf("%v, %v", err, p.Refusing())
	}
	p.mend(t.Context())
	if err := p.Admit(t.Context()); err != nil || p.Refusing() != nil {
		t.Fatalf("with a new file: %v, %v", err, p.Refusing())
	}
}

func TestCSVIsNoFormula(t *testing.T) {
	var out strings.Builder
	e := NewExport(true, func(b []byte) error { out.Write(b); return nil })
	r := sample(1)
	r.Resource, r.Subject = `=HYPERLINK("http://x")`, "@sum"
	if err := e.Records([]Record{r}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), `"'=HYPERLINK(""http://x"")"`) || !strings.Contains(out.String(), ",'@sum,") {
		t.Fatal(out.String())
	}
}
