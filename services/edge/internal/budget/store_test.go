package budget

import (
	"slices"
	"testing"
	"time"
)

func TestSQLiteStore(t *testing.T) { testStore(t, sqliteDSN(t)) }

func testStore(t *testing.T, dsn string) {
	t.Helper()
	s, ctx := NewSQLStore(openDB(t, dsn)), t.Context()
	now := time.Date(2026, 5, 1, 12, 0, 0, 1000, time.UTC)
	b := Budget{
		Tenant: "acme", ID: "lab", Scope: Team, Name: "lab", Every: Month, Unit: Money, Amount: 5, Warnings: []int32{50, 90}, Hard: true, Platform: true,
		UpdateTime: now, Updater: "root@default",
	}
	made, err := s.Set(ctx, b, true)
	if err != nil || made.UID == 0 || !made.CreateTime.Equal(now) {
		t.Fatalf("%+v, %v", made, err)
	}
	b.Amount, b.Warnings, b.UpdateTime = 7, nil, now.Add(time.Hour)
	if _, err := s.Set(ctx, b, false); err != ErrPlatform { //nolint:errorlint // the very value
		t.Errorf("the tenant changes the platform's: %v", err)
	}
	changed, err := s.Set(ctx, b, true)
	if err != nil || changed.UID != made.UID || changed.Amount != 7 || !changed.CreateTime.Equal(now) {
		t.Errorf("%+v, %v", changed, err)
	}
	other := b
	other.Unit = Tokens
	if _, err := s.Set(ctx, other, true); err != ErrOther { //nolint:errorlint // the very value
		t.Errorf("it counts something else: %v", err)
	}
	other.Tenant, other.Platform = "beta", false
	if _, err := s.Set(ctx, other, false); err != nil {
		t.Error(err)
	}
	list, err := s.List(ctx)
	if err != nil || len(list) != 2 || list[0].Tenant != "acme" || list[0].Amount != 7 || list[0].Name != "lab" || !list[0].Platform || !list[0].Hard || len(list[0].Warnings) != 0 ||
		!slices.Equal(list[1].Warnings, b.Warnings) || list[1].Unit != Tokens {
		t.Errorf("%+v, %v", list, err)
	}
	before, err := s.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(ctx, "acme", "lab", false); err != ErrPlatform { //nolint:errorlint // the very value
		t.Errorf("the tenant deletes the platform's: %v", err)
	}
	if _, err := s.Delete(ctx, "acme", "lab", true); err != nil {
		t.Error(err)
	}
	if _, err := s.Delete(ctx, "acme", "lab", true); err != ErrNotFound { //nolint:errorlint // the very value
		t.Errorf("again: %v", err)
	}
	if after, err := s.Revision(ctx); err != nil || after <= before {
		t.Errorf("the revision went from %d to %d, %v", before, after, err)
	}
	again, err := s.Set(ctx, b, true)
	if err != nil || again.UID == made.UID {
		t.Errorf("a new budget has the number of one that is gone: %+v, %v", again, err)
	}
}

func TestPeriods(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 31, 22, 30, 0, 0, time.UTC) // half past midnight in Paris, on the first of April
	for _, q := range []struct {
		every      Every
		zone       *time.Location
		start, end string
	}{
		{Day, time.UTC, "2026-03-31T00:00:00Z", "2026-04-01T00:00:00Z"},
		{Day, paris, "2026-03-31T22:00:00Z", "2026-04-01T22:00:00Z"},
		{Month, time.UTC, "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z"},
		{Month, paris, "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"},
	} {
		b := Budget{Every: q.every}
		start, end := time.UnixMicro(b.Start(at, q.zone)).UTC().Format(time.RFC3339), b.End(at, q.zone).UTC().Format(time.RFC3339)
		if start != q.start || end != q.end {
			t.Errorf("%s in %s is from %s to %s", q.every, q.zone, start, end)
		}
	}
	if b := (Budget{Every: Total}); b.Start(at, paris) != 0 || !b.End(at, paris).IsZero() {
		t.Error("a budget in all has a period")
	}
}
