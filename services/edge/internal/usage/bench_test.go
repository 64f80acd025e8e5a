package usage

import (
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/price"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

// maxAllocs is the most allocations that billing adds to a request with a price and
// a budget, the writing of its entry to the store apart.
const maxAllocs = 45

func billed(tb testing.TB) *Usage {
	tb.Helper()
	db, err := schema.Open(tb.Context(), sqldb.DefaultConfig("sqlite://"+tb.TempDir()+"/edge.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	cfg := DefaultConfig()
	cfg.QueueSize = 1 << 20
	u, err := Open(tb.Context(), cfg, Deps{DB: db, DataDir: tb.TempDir(), Clock: clock.Real(), IDs: ids.UUIDv7(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = u.Close() })
	now := time.Now()
	if _, err := u.prices.Set(tb.Context(), price.Price{Target: price.Target{Model: "chat"}, Rates: price.Rates{Input: 1, Output: 1}, Currency: "USD", ValidFrom: now}, now); err != nil {
		tb.Fatal(err)
	}
	b := budget.Budget{Tenant: "acme", ID: "all", Scope: budget.Tenant, Every: budget.Total, Unit: budget.Tokens, Amount: 1 << 50, Hard: true, UpdateTime: now}
	if _, err := u.budgets.Set(tb.Context(), b, true); err != nil {
		tb.Fatal(err)
	}
	if err := u.follow(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return u
}

func bill(tb testing.TB, u *Usage) func() {
	tb.Helper()
	ctx, demand, use := as(tb.Context()), chat(400, 20), used(100, 20)
	header := func(metadata.MD) error { return nil }
	return func() {
		h, err := u.Meter.Begin(ctx, demand, header)
		if err != nil {
			tb.Fatal(err)
		}
		h.Note(use)
		h.End(ctx, nil)
	}
}

func TestBillingAllocatesLittle(t *testing.T) {
	u := billed(t)
	if got := testing.AllocsPerRun(500, bill(t, u)); got > maxAllocs {
		t.Errorf("a request takes %v allocations, at most %d are meant", got, maxAllocs)
	}
}

// BenchmarkBill is what billing adds to a request; the entries are written to the
// store too.
func BenchmarkBill(b *testing.B) {
	u := billed(b)
	one := bill(b, u)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		one()
		if n++; n%maxWritten == 0 {
			if err := u.writer.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}

const maxWritten = 512
