package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func openStore(tb testing.TB, dsn string) *SQLStore {
	tb.Helper()
	db, err := schema.Open(tb.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	return NewSQLStore(db)
}

func sqliteDSN(tb testing.TB) string {
	tb.Helper()
	return "sqlite://" + tb.TempDir() + "/edge.db"
}

func TestSQLiteStore(t *testing.T) { testStore(t, sqliteDSN(t)) }

func testStore(t *testing.T, dsn string) {
	t.Helper()
	s := openStore(t, dsn)
	t.Run("entries count once", func(t *testing.T) { entriesCountOnce(t, s) })
	t.Run("sums", func(t *testing.T) { sumsAreListed(t, s) })
	t.Run("check", func(t *testing.T) { checkFindsWhatWasChanged(t, s) })
	t.Run("classes", func(t *testing.T) { classesAddUp(t, s) })
	t.Run("claims", func(t *testing.T) { claimsHold(t, s) })
	t.Run("one claims", func(t *testing.T) { oneClaims(t, s) })
	t.Run("old claims", func(t *testing.T) { oldClaimsAreForgotten(t, s) })
}

var at = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // read only

func entriesCountOnce(t *testing.T, s *SQLStore) {
	t.Helper()
	var batch []Entry
	for i := 1; i <= 200; i++ {
		e := entry(i)
		switch {
		case i%10 == 0:
			e.Outcome, e.Price, e.Cost = Partial, 0, 0
			e.Charges[0].Amount = 0
		case i%7 == 0:
			e.Tenant, e.Model, e.Version = "beta", "other", 1
		}
		batch = append(batch, e)
	}
	for i, part := range [][]Entry{batch[:150], batch[100:], batch, batch[:1]} {
		n, err := s.Write(t.Context(), "a", part)
		if want := []int{150, 50, 0, 0}[i]; err != nil || n != want {
			t.Fatalf("write %d keeps %d, want %d, %v", i, n, want, err)
		}
	}
	var want int64
	for _, e := range batch {
		want += e.Charges[0].Amount
	}
	st, err := s.Standings(t.Context(), []Period{{Budget: 1}, {Budget: 9}}, at)
	if err != nil || st[0].Settled != want || st[1].Settled != 0 {
		t.Errorf("%+v, want %d, %v", st, want, err)
	}
	report, err := s.Check(t.Context(), at, at.AddDate(0, 0, 2))
	if err != nil || report.Count != 0 || report.Requests != 200 {
		t.Errorf("%+v, %v", report, err)
	}
}

func sumsAreListed(t *testing.T, s *SQLStore) {
	t.Helper()
	list := func(q Query) []Row {
		t.Helper()
		if q.To.IsZero() {
			q.From, q.To = at, at.AddDate(0, 0, 1)
		}
		q.Now = at.AddDate(0, 1, 0)
		if q.Limit == 0 {
			q.Limit = 100
		}
		rows, err := s.List(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	all := list(Query{})
	if len(all) != 1 || all[0].Requests != 200 || all[0].Input != 2000 || all[0].Cached != 800 || all[0].Output != 20100 || all[0].Partial != 20 || all[0].Unpriced != 20 {
		t.Fatalf("%+v", all)
	}
	for _, by := range [][]string{nil, {"tenant"}, {"model", "version"}, ByNames()} {
		for _, size := range []string{"", ByHour, ByDay, ByMonth} {
			var sum Sums
			rows := list(Query{By: by, Time: size})
			for _, r := range rows {
				sum.Requests += r.Requests
				sum.Cost += r.Cost
				sum.Output += r.Output
			}
			if sum.Requests != 200 || sum.Cost != all[0].Cost || sum.Output != all[0].Output {
				t.Errorf("by %v and %s the sum is %+v", by, size, sum)
			}
			if size == ByHour && len(rows) < 5 || size == ByMonth && !rows[0].Start.Equal(at) || size == ByDay && !rows[0].Start.Equal(at) {
				t.Errorf("by %s: %+v", size, rows)
			}
		}
	}
	if rows := list(Query{By: []string{"tenant"}}); len(rows) != 2 || rows[0].Tenant != "acme" || rows[1].Tenant != "beta" || rows[0].Model != "" {
		t.Errorf("%+v", rows)
	}
	if rows := list(Query{Tenant: "beta", Model: "other", Version: 1, KeyID: "k1", Kind: "generate", Arm: "b", Experiment: "x"}); len(rows) != 1 || rows[0].Requests != 26 {
		t.Errorf("%+v", rows)
	}
	if rows := list(Query{Tenant: "' OR 1=1 --"}); len(rows) != 0 {
		t.Errorf("%+v", rows)
	}
	if rows := list(Query{From: at.Add(11 * time.Hour), To: at.Add(12 * time.Hour)}); len(rows) != 1 || rows[0].Requests != 40 {
		t.Errorf("one hour: %+v", rows)
	}
	if rows := list(Query{Time: ByHour, Limit: 2, Offset: 4}); len(rows) != 1 || !rows[0].Start.Equal(at.Add(14*time.Hour)) {
		t.Errorf("a page: %+v", rows)
	}
}

func checkFindsWhatWasChanged(t *testing.T, s *SQLStore) {
	t.Helper()
	for _, q := range []struct{ change, back, table string }{
		{`UPDATE edge_usage_hours SET output = output + 1 WHERE start_us = 1777629600000000 AND tenant = 'acme'`, `UPDATE edge_usage_hours SET output = output - 1 WHERE start_us = 1777629600000000 AND tenant = 'acme'`, "hour"},
		{`UPDATE edge_usage_days SET cost = cost - 1 WHERE tenant = 'beta'`, `UPDATE edge_usage_days SET cost = cost + 1 WHERE tenant = 'beta'`, "day"},
		{`UPDATE edge_usage SET input = input + 5 WHERE id = 'e0001'`, `UPDATE edge_usage SET input = input - 5 WHERE id = 'e0001'`, "day"},
		{`UPDATE edge_budget_counters SET settled = settled - 1`, `UPDATE edge_budget_counters SET settled = settled + 1`, "budget"},
	} {
		for i, statement := range []string{q.change, q.back} {
			if r, err := s.db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			} else if n, _ := r.RowsAffected(); n == 0 {
				t.Fatalf("%s changes nothing", statement)
			}
			report, err := s.Check(t.Context(), at, at.AddDate(0, 0, 2))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, d := range report.Differences {
				found = found || d.Table == q.table
			}
			if found != (i == 0) || (report.Count > 0) != found {
				t.Errorf("after %s: %+v", statement, report)
			}
		}
	}
}

// classesAddUp has each class of tokens be summed by itself, and be checked.
func classesAddUp(t *testing.T, s *SQLStore) {
	t.Helper()
	day := at.AddDate(0, 0, 5)
	for i := range 3 {
		e := Entry{
			ID: fmt.Sprint("class-", i), Time: day, Outcome: Whole, Dimensions: Dimensions{Tenant: "classes"}, Documents: 1000,
			Tokens: Tokens{Input: 1, Output: 10, Reasoning: 100, AudioInput: 10_000, AudioOutput: 100_000},
		}
		if _, err := s.Write(t.Context(), "a", []Entry{e}); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := s.List(t.Context(), Query{From: day, To: day.AddDate(0, 0, 1), Now: day, Tenant: "classes", Limit: 9})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%+v, %v", rows, err)
	}
	want := Sums{
		Requests: 3, Unpriced: 3, Documents: 3000,
		Tokens: Tokens{Input: 3, Output: 30, Reasoning: 300, AudioInput: 30_000, AudioOutput: 300_000},
	}
	if rows[0].Sums != want {
		t.Errorf("%+v, want %+v", rows[0].Sums, want)
	}
	check := func() int64 {
		t.Helper()
		report, err := s.Check(t.Context(), day, day.AddDate(0, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		return report.Count
	}
	if n := check(); n != 0 {
		t.Errorf("%d differences", n)
	}
	for _, column := range []string{"reasoning", "audio_input", "audio_output", "documents"} {
		change := `UPDATE edge_usage_days SET ` + column + ` = ` + column + ` + 1 WHERE tenant = 'classes'`
		if _, err := s.db.ExecContext(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		if n := check(); n != 1 {
			t.Errorf("a changed sum of %s makes %d differences", column, n)
		}
		if _, err := s.db.ExecContext(t.Context(), strings.Replace(change, "+ 1", "- 1", 1)); err != nil {
			t.Fatal(err)
		}
	}
}

func claimsHold(t *testing.T, s *SQLStore) {
	t.Helper()
	claim := func(entry string, now time.Time) error {
		return s.Claim(t.Context(), "c", entry, now, now.Add(time.Hour))
	}
	if err := claim("one", at); err != nil {
		t.Fatal(err)
	}
	if err := claim("two", at); !errors.Is(err, ErrInHand) {
		t.Errorf("in hand: %v", err)
	}
	if err := s.Unclaim(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if err := claim("two", at); err != nil {
		t.Errorf("given up: %v", err)
	}
	if err := claim("three", at.Add(time.Hour)); err != nil {
		t.Errorf("its edge is gone: %v", err)
	}
	e := entry(900)
	e.ID, e.Claimed, e.Time = "three", true, at
	if _, err := s.Write(t.Context(), "a", []Entry{e}); err != nil {
		t.Fatal(err)
	}
	if err := s.Unclaim(t.Context(), "three"); err != nil {
		t.Fatal(err)
	}
	if err := claim("four", at.Add(23*time.Hour)); !errors.Is(err, ErrClaimed) {
		t.Errorf("settled: %v", err)
	}
	if err := claim("four", at.Add(25*time.Hour)); err != nil {
		t.Errorf("a day later: %v", err)
	}
}

// oneClaims lets one of many win, while others' turn is under way: a claim does not
// wait for the ledger's turn.
func oneClaims(t *testing.T, s *SQLStore) {
	t.Helper()
	const rivals = 8
	var wg sync.WaitGroup
	results := make([]error, rivals)
	race := func(ctx context.Context) {
		for i := range rivals {
			wg.Go(func() {
				results[i] = s.Claim(ctx, "race", fmt.Sprint("racer-", i), at, at.Add(time.Hour))
			})
		}
		wg.Wait()
	}
	if s.db.Dialect == sqldb.Postgres { // SQLite has one writer, whatever it writes
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := s.turn(ctx, "hold", func(context.Context, *sql.Tx) error { race(ctx); return nil }); err != nil {
			t.Fatal(err)
		}
	} else {
		race(t.Context())
	}
	won := 0
	for _, err := range results {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrInHand) {
			t.Errorf("%v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d made the request", won, rivals)
	}
}

// oldClaimsAreForgotten, and none that is claimed anew.
func oldClaimsAreForgotten(t *testing.T, s *SQLStore) {
	t.Helper()
	later := at.Add(100 * time.Hour)
	for name, expire := range map[string]time.Time{"old": at, "fresh": later.Add(time.Hour)} {
		if err := s.Claim(t.Context(), "forgotten-"+name, "of-"+name, at, expire); err != nil {
			t.Fatal(err)
		}
	}
	e := entry(901)
	e.ID, e.Claimed, e.Time = "ends", true, later
	if _, err := s.Write(t.Context(), "a", []Entry{e}); err != nil {
		t.Fatal(err)
	}
	var left string
	err := s.db.QueryRowContext(t.Context(), `SELECT COALESCE(MIN(claim), '') || COUNT(*) FROM edge_usage_claims WHERE claim LIKE 'forgotten-%'`).Scan(&left)
	if err != nil || left != "forgotten-fresh1" {
		t.Errorf("%q %v", left, err)
	}
}

// failing is a store that fails before it works.
type failing struct {
	Store
	left int
	lost bool // it wrote, and the answer was lost
}

func (f *failing) Write(ctx context.Context, holder string, entries []Entry) (int, error) {
	if f.left > 0 {
		f.left--
		if f.lost {
			_, _ = f.Store.Write(ctx, holder, entries)
		}
		return 0, errors.New("no route to host")
	}
	return f.Store.Write(ctx, holder, entries)
}

func TestAWriterWritesEachEntryOnce(t *testing.T) {
	store := &failing{Store: openStore(t, sqliteDSN(t)), left: 3, lost: true}
	var told int
	dir := t.TempDir()
	journal := begun(t, dir)
	w := NewWriter(WriterDeps{
		Store: store, Journal: journal, Holder: "a", QueueSize: 1000, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), Failed: func(context.Context) {},
		Turn: func(ctx context.Context, fn func(context.Context) error, after func()) error {
			if err := fn(ctx); err != nil {
				return err
			}
			after()
			return nil
		},
		Written: func(batch []Entry) { told += len(batch) },
	})
	for i := range 1500 {
		e := entry(i)
		if err := w.Put(&e); err != nil {
			t.Fatal(err)
		}
	}
	if w.Refusing() == nil {
		t.Error("more than the queue holds, and none is refused")
	}
	for range 3 {
		if err := w.Flush(t.Context()); err == nil {
			t.Fatal("the store was away")
		}
	}
	if err := w.Flush(t.Context()); err != nil || w.Refusing() != nil || told != 1500 {
		t.Fatalf("%d told, %v", told, err)
	}
	if left := journalled(t, dir); left != 0 {
		t.Errorf("%d entries are left in the journal", left)
	}
}

// BenchmarkRequest is what a request costs in the journal: it begins, is told of 64
// parts, and ends.
func BenchmarkRequest(b *testing.B) {
	j, err := OpenJournal(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	if err := j.Begin("a"); err != nil {
		b.Fatal(err)
	}
	e := entry(1)
	b.ReportAllocs()
	for b.Loop() {
		s, err := j.Take(&e)
		if err != nil {
			b.Fatal(err)
		}
		for i := range 64 {
			s.Count(Tokens{Input: 10, Output: int64(i)}, false)
		}
		n, err := j.Append(&e)
		if err != nil {
			b.Fatal(err)
		}
		s.Free()
		if n%512 == 0 {
			if err := j.Written(n); err != nil {
				b.Fatal(err)
			}
		}
	}
}
