package usage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/metrics"
	"github.com/poterne/poterne/services/edge/internal/price"
)

// journalDir is the journal's directory in the data directory.
const journalDir = "usage-journal"

// Deps is what Open works with; all of it but Metrics is needed.
type Deps struct {
	DB      *sqldb.DB // stays the caller's to close
	DataDir string
	Clock   clock.Clock
	IDs     ids.Source
	Log     *slog.Logger
	Metrics *metrics.Usage
	// Notices are told what happens to budgets; nil: nobody is.
	Notices Notices
}

// Notices are told what happens to budgets. Implementations are safe for concurrent
// use.
type Notices interface {
	// Moved is told, in the transaction that settles more of them, how budgets stand.
	Moved(ctx context.Context, tx *sql.Tx, moved []ledger.Moved) error
	// Refused is told that a budget has refused a request. It must not wait.
	Refused(p ledger.Period)
}

// Usage is the billing of an edge, put together.
type Usage struct {
	// Meter is asked before a model works.
	Meter *Meter

	cfg     Config
	zone    *time.Location
	d       Deps
	prices  *price.SQLStore
	budgets *budget.SQLStore
	store   *ledger.SQLStore
	keeper  *budget.Keeper
	writer  *ledger.Writer
	journal *ledger.Journal

	mu       sync.Mutex
	revision int64
}

// Open puts the billing together: it reads prices and budgets, and brings into the
// store what an earlier process left in the journal.
func Open(ctx context.Context, cfg Config, d Deps) (*Usage, error) {
	zone, err := time.LoadLocation(cfg.Timezone)
	if err != nil {
		return nil, fmt.Errorf("usage.timezone: %w", err)
	}
	u := &Usage{
		cfg: cfg, zone: zone, d: d, prices: price.NewSQLStore(d.DB), budgets: budget.NewSQLStore(d.DB), store: ledger.NewSQLStore(d.DB), revision: -1,
	}
	if d.Notices != nil {
		u.store.Watch = d.Notices.Moved
	}
	holder := d.IDs.New()
	u.keeper = budget.NewKeeper(budget.Config{TTL: cfg.LeaseTTL, Timeout: cfg.Timeout, Zone: zone}, budget.Deps{Ledger: u.store, Holder: holder, Clock: d.Clock})
	if cfg.Journal.Enabled {
		dir := cfg.Journal.Directory
		if dir == "" {
			dir = filepath.Join(d.DataDir, journalDir)
		}
		if u.journal, err = ledger.OpenJournal(dir); err != nil {
			return nil, err
		}
	}
	u.writer = ledger.NewWriter(ledger.WriterDeps{
		Store: u.store, Journal: u.journal, Holder: holder, Turn: u.keeper.Turn, Written: u.keeper.Written,
		Failed: d.Metrics.WriteFailure, QueueSize: cfg.QueueSize, Clock: d.Clock, Log: d.Log,
	})
	u.Meter = &Meter{
		cfg: cfg, keeper: u.keeper, writer: u.writer, journal: u.journal, claims: u.store, clock: d.Clock, ids: d.IDs, log: d.Log, metrics: d.Metrics, refused: u.refused,
	}
	if err := u.follow(ctx); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	if err := u.takeOver(ctx, holder); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return u, nil
}

// takeOver settles what a process before left in the journal: requests that had
// ended as they were, and those in hand by what engines had counted by then. What it
// held of budgets is free from then on.
func (u *Usage) takeOver(ctx context.Context, holder string) error {
	if u.journal == nil {
		return nil
	}
	old, err := u.journal.OldHolder()
	if err != nil {
		return err
	}
	count := 0
	write := func(entries []ledger.Entry) error {
		n, err := u.store.Write(ctx, old, entries)
		count += n
		return err
	}
	left, err := u.journal.Left(write)
	if err != nil {
		return err
	}
	var used []ledger.Entry
	for _, e := range left.InHand {
		if e.None() {
			if e.Claimed {
				err = errors.Join(err, u.store.Unclaim(ctx, e.ID))
			}
			continue
		}
		settle(&e, u.Meter.book.Load())
		for i := range e.Charges {
			c := &e.Charges[i]
			if c.Amount = e.Total(); c.Money {
				c.Amount = e.Cost
			}
		}
		used = append(used, e)
	}
	if len(used) > 0 {
		err = errors.Join(err, write(used))
	}
	if old != "" {
		err = errors.Join(err, u.store.Release(ctx, old))
	}
	if err != nil {
		return err
	}
	if count > 0 || left.Skipped > 0 {
		u.d.Log.InfoContext(ctx, "usage of a process that ended early was brought in",
			slog.Int(metrics.KeyRecords, count), slog.Int("in_hand", len(used)), slog.Int(metrics.KeySkipped, left.Skipped))
	}
	return u.journal.Begin(holder)
}

// refused tells of a budget that has refused a request.
func (u *Usage) refused(b budget.Budget) {
	if u.d.Notices != nil {
		u.d.Notices.Refused(ledger.Period{Budget: b.UID, Start: b.Start(u.d.Clock.Now(), u.zone)})
	}
}

// follow reads prices and budgets when there was a change.
func (u *Usage) follow(ctx context.Context) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	revision, err := u.budgets.Revision(ctx)
	if err != nil || revision == u.revision {
		return err
	}
	prices, err := u.prices.List(ctx)
	if err != nil {
		return err
	}
	budgets, err := u.budgets.List(ctx)
	if err != nil {
		return err
	}
	u.Meter.book.Store(price.NewBook(u.cfg.Currency, prices))
	u.keeper.Use(budgets)
	u.revision = revision
	return nil
}

// Components returns the parts that work in the background: start them before
// whatever serves requests.
func (u *Usage) Components() []lifecycle.Component {
	away := false
	comps := []lifecycle.Component{
		{Name: "usage journal", Stop: func(context.Context) error { return u.Close() }},
		u.keeper.Component(func(ctx context.Context, err error) {
			u.d.Metrics.WriteFailure(ctx)
			u.d.Log.WarnContext(ctx, "what this edge holds of budgets cannot be renewed", telemetry.Err(err))
		}),
		u.writer.Component(),
		{Name: "prices and budgets", Run: func(ctx context.Context) error {
			return lifecycle.Every(ctx, u.d.Clock, u.cfg.PollInterval, nil, func(ctx context.Context) error {
				err := u.follow(ctx)
				if err != nil && !away && ctx.Err() == nil { // once: it is asked several times a second
					u.d.Log.ErrorContext(ctx, "prices and budgets cannot be read; those that are known hold", telemetry.Err(err))
				}
				away = err != nil
				return nil
			})
		}},
	}
	if u.cfg.Retention > 0 {
		comps = append(comps, lifecycle.Component{Name: "usage retention", Run: u.retain})
	}
	return comps
}

// Close closes the journal. It may be called more than once.
func (u *Usage) Close() error {
	if u.journal == nil {
		return nil
	}
	return u.journal.Close()
}
