package ledger

import (
	"slices"
	"testing"
	"time"
)

func TestSQLiteFold(t *testing.T) { testFold(t, sqliteDSN(t)) }

// testFold has entries of four days of which two are forgotten: the sums stay, and
// everything adds up.
func testFold(t *testing.T, dsn string) {
	t.Helper()
	s := openStore(t, dsn)
	const days = 4
	var batch []Entry
	for i := range days * (foldAtOnce/2 + 100) {
		e := entry(i)
		e.Time = at.AddDate(0, 0, i%days).Add(time.Duration(i%3) * time.Hour)
		e.Charges = slices.Clone(e.Charges)
		e.Charges[0].Budget = int64(1 + i%3)
		batch = append(batch, e)
	}
	if _, err := s.Write(t.Context(), "a", batch); err != nil {
		t.Fatal(err)
	}
	periods := []Period{batch[0].Charges[0].Period, batch[1].Charges[0].Period, batch[2].Charges[0].Period}
	see := func() ([]Row, []Standing, *Report) {
		t.Helper()
		rows, err := s.List(t.Context(), Query{From: at, To: at.AddDate(0, 0, days), Now: at.AddDate(0, 0, days), Time: ByHour, By: ByNames(), Limit: 10_000})
		if err != nil {
			t.Fatal(err)
		}
		standings, err := s.Standings(t.Context(), periods, at)
		if err != nil {
			t.Fatal(err)
		}
		report, err := s.Check(t.Context(), at, at.AddDate(0, 0, days))
		if err != nil {
			t.Fatal(err)
		}
		return rows, standings, report
	}
	rows, standings, report := see()
	if report.Count != 0 || report.Requests != int64(len(batch)) {
		t.Fatalf("%+v", report)
	}
	folded := 0
	for {
		n, err := s.Fold(t.Context(), at.AddDate(0, 0, 2).Add(5*time.Minute)) // in the third day, which stays
		if err != nil {
			t.Fatal(err)
		}
		if folded += n; n == 0 {
			break
		}
	}
	after, stand, again := see()
	if folded != len(batch)/2 || again.Count != 0 || again.Requests != int64(len(batch)/2) {
		t.Errorf("%d of %d are folded; %+v", folded, len(batch), again)
	}
	if !slices.Equal(rows, after) {
		t.Errorf("the sums have changed: %d rows, %d before", len(after), len(rows))
	}
	if !slices.Equal(standings, stand) {
		t.Errorf("what is settled of budgets has changed: %+v, before %+v", stand, standings)
	}
	var charges int
	if err := s.db.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM edge_usage_charges WHERE entry LIKE 'folded/%'`).Scan(&charges); err != nil || charges != 3 {
		t.Errorf("%d charges for three budgets, %v", charges, err)
	}
	// What is wrong with a budget is still found.
	if _, err := s.db.ExecContext(t.Context(), `UPDATE edge_budget_counters SET settled = settled + 1 WHERE budget = 2`); err != nil {
		t.Fatal(err)
	}
	if _, _, report := see(); report.Count != 1 {
		t.Errorf("%+v", report)
	}
}
