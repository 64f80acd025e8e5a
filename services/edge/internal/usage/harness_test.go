package usage

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/price"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

// hands is a clock that stands until it is moved.
type hands struct {
	clock.Clock
	mu  sync.Mutex
	now time.Time
}

func (h *hands) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

// names are ids that follow each other.
type names struct {
	mu   sync.Mutex
	name string
	n    int
}

func (s *names) New() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	return fmt.Sprintf("%s-%d", s.name, s.n)
}

// office is the billing under test.
type office struct {
	*Usage
	t     *testing.T
	clock *hands
	db    *sqldb.DB
	dsn   string
	dir   string
	cfg   Config
}

func openDB(t *testing.T, dsn string) *sqldb.DB {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func newOffice(t *testing.T, change func(*Config)) *office {
	t.Helper()
	o := &office{
		t: t, clock: &hands{Clock: clock.Real(), now: time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC)}, dsn: "sqlite://" + t.TempDir() + "/edge.db",
		dir: t.TempDir(), cfg: DefaultConfig(),
	}
	o.db = openDB(t, o.dsn)
	if change != nil {
		change(&o.cfg)
	}
	o.start("first")
	return o
}

// start is the start of a process.
func (o *office) start(name string) {
	o.t.Helper()
	u, err := Open(o.t.Context(), o.cfg, Deps{DB: o.db, DataDir: o.dir, Clock: o.clock, IDs: &names{name: name}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		o.t.Fatal(err)
	}
	o.Usage = u
	o.t.Cleanup(func() { _ = u.Close() })
}

// kill ends the process: what it had in memory is gone.
func (o *office) kill() { _ = o.journal.Close() }

func (o *office) price(model string, r price.Rates) {
	o.t.Helper()
	target, err := price.ParseTarget(model, "")
	if err != nil {
		o.t.Fatal(err)
	}
	if _, err := o.prices.Set(o.t.Context(), price.Price{Target: target, Rates: r, Currency: "USD", ValidFrom: o.clock.Now()}, o.clock.Now()); err != nil {
		o.t.Fatal(err)
	}
	o.follows()
}

func (o *office) follows() {
	o.t.Helper()
	if err := o.follow(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) budget(b budget.Budget) budget.Budget {
	o.t.Helper()
	if b.Tenant == "" {
		b.Tenant = "acme"
	}
	b.UpdateTime = o.clock.Now()
	b, err := o.budgets.Set(o.t.Context(), b, true)
	if err != nil {
		o.t.Fatal(err)
	}
	o.follows()
	return b
}

// stands returns what is settled and held of a budget, all edges' included.
func (o *office) stands(b budget.Budget) (int64, int64) {
	o.t.Helper()
	if err := o.writer.Flush(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	for range 2 { // what is not needed goes back
		if err := o.keeper.Tick(o.t.Context()); err != nil {
			o.t.Fatal(err)
		}
	}
	st, err := o.store.Standings(o.t.Context(), []ledger.Period{{Budget: b.UID, Start: b.Start(o.clock.Now(), o.zone)}}, o.clock.Now())
	if err != nil {
		o.t.Fatal(err)
	}
	return st[0].Settled, st[0].Held
}

func (o *office) total() ledger.Sums {
	o.t.Helper()
	if err := o.writer.Flush(o.t.Context()); err != nil {
		o.t.Fatal(err)
	}
	now := o.clock.Now()
	rows, err := o.store.List(o.t.Context(), ledger.Query{From: now.AddDate(0, 0, -20), To: now.AddDate(0, 0, 1), Now: now, Limit: 10})
	if err != nil {
		o.t.Fatal(err)
	}
	if len(rows) == 0 {
		return ledger.Sums{}
	}
	return rows[0].Sums
}

func (o *office) adds() {
	o.t.Helper()
	report, err := o.store.Check(o.t.Context(), o.clock.Now().AddDate(0, 0, -20), o.clock.Now().AddDate(0, 0, 1))
	if err != nil || report.Count != 0 {
		o.t.Errorf("%+v, %v", report, err)
	}
}

// answer is a request and the header of its response.
type answer struct {
	metering.Hold
	header metadata.MD
	entry  *audit.Entry
}

// End ends the request, as its handler does.
func (a *answer) End(ctx context.Context, err error) { a.Hold.End(audit.NewContext(ctx, a.entry), err) }

func as(ctx context.Context, groups ...string) context.Context {
	c := identity.NewCaller("acme", "ana", nil, groups)
	c.KeyID = "k1"
	return identity.NewContext(ctx, c)
}

func (o *office) ask(ctx context.Context, d metering.Demand) (*answer, error) {
	a := &answer{header: metadata.MD{}, entry: audit.NewEntry("r")}
	h, err := o.Meter.Begin(audit.NewContext(ctx, a.entry), d, func(md metadata.MD) error {
		a.header = metadata.Join(a.header, md)
		return nil
	})
	a.Hold = h
	return a, err
}

func (o *office) must(d metering.Demand) *answer {
	o.t.Helper()
	a, err := o.ask(as(o.t.Context(), "lab"), d)
	if err != nil {
		o.t.Fatal(err)
	}
	return a
}

func served() *inferencev1.ServedBy {
	return &inferencev1.ServedBy{Model: "chat", Version: 3, Arm: "b", Experiment: "x", Digest: "sha256:" + strings.Repeat("1", 64)}
}

func used(in, out int32) metering.Use {
	return metering.Use{By: served(), Tokens: &commonv1.TokenUsage{PromptTokens: in, CompletionTokens: out}}
}

func chat(bytes int, limit int64) metering.Demand {
	return metering.Demand{Kind: metering.Generate, Model: "chat", PromptBytes: bytes, MaxTokens: limit}
}
