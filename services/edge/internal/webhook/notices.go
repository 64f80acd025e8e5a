package webhook

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
)

const (
	// lookEvery is how often it is looked whether a budget counts anew.
	lookEvery = 5 * time.Second
	// keyKept is for how long after a budget's period the keys of its events are known.
	keyKept = 7 * 24 * time.Hour
	// maxTold bounds the refusals that are remembered, and waiting those that wait.
	maxTold = 10_000
	waiting = 256
)

// NoticesDeps is what Notices work with; all of it is needed.
type NoticesDeps struct {
	DB    *sqldb.DB
	Zone  *time.Location // where days and months begin
	Clock clock.Clock
	IDs   ids.Source
	Log   *slog.Logger
}

// Notices notes what happens to budgets. It is safe for concurrent use.
type Notices struct {
	NoticesDeps

	refusals chan ledger.Period
	mu       sync.Mutex
	told     map[ledger.Period]bool
}

// NewNotices returns notices; its component must run for periods and refusals to be
// noted.
func NewNotices(d NoticesDeps) *Notices {
	return &Notices{NoticesDeps: d, refusals: make(chan ledger.Period, waiting), told: make(map[ledger.Period]bool)}
}

const budgetColumns = `b.uid, b.tenant, b.id, b.scope, b.scope_name, b.period, b.unit, b.amount, b.warnings, b.hard, b.create_time`

// heard is true of budgets of tenants that have a webhook.
const heard = `EXISTS (SELECT 1 FROM edge_webhooks w WHERE w.tenant = b.tenant AND w.disabled = 0)`

func scanBudget(row interface{ Scan(dest ...any) error }) (b budget.Budget, err error) {
	var warnings string
	var hard int
	var created int64
	if err := row.Scan(&b.UID, &b.Tenant, &b.ID, &b.Scope, &b.Name, &b.Every, &b.Unit, &b.Amount, &warnings, &hard, &created); err != nil {
		return b, err
	}
	b.Hard, b.CreateTime = hard != 0, sqldb.FromMicros(created)
	return b, json.Unmarshal([]byte(warnings), &b.Warnings)
}

// Moved notes which thresholds budgets have reached, in the transaction in which more
// of them is settled.
func (n *Notices) Moved(ctx context.Context, tx *sql.Tx, moved []ledger.Moved) error {
	for _, m := range moved {
		b, err := scanBudget(tx.QueryRowContext(ctx, `SELECT `+budgetColumns+` FROM edge_budgets b WHERE b.uid = $1 AND `+heard, m.Budget))
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		for _, w := range b.Warnings {
			if m.Settled >= share(b.Amount, w) {
				if err := n.note(ctx, tx, b, m.Period, BudgetWarning, w, m.Settled, n.now()); err != nil {
					return err
				}
			}
		}
		if m.Settled >= b.Amount {
			if err := n.note(ctx, tx, b, m.Period, BudgetExhausted, 100, m.Settled, n.now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// share is w per cent of an amount, rounded up; amounts are at most 10^18, and w 200.
func share(amount int64, w int32) int64 {
	return amount/100*int64(w) + (amount%100*int64(w)+99)/100
}

// Refused notes that a hard budget has refused a request. It does not wait: what has no
// room now is noted when the next request is refused.
func (n *Notices) Refused(p ledger.Period) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told[p] {
		return
	}
	if len(n.told) >= maxTold {
		clear(n.told)
	}
	select {
	case n.refusals <- p:
		n.told[p] = true
	default:
	}
}

func (n *Notices) noteRefusal(ctx context.Context, p ledger.Period) error {
	err := n.DB.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
		b, err := scanBudget(tx.QueryRowContext(ctx, `SELECT `+budgetColumns+` FROM edge_budgets b WHERE b.uid = $1 AND `+heard, p.Budget))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var settled int64
		err = tx.QueryRowContext(ctx, `SELECT COALESCE(SUM(settled), 0) FROM edge_budget_counters WHERE budget = $1 AND period = $2`, p.Budget, p.Start).Scan(&settled)
		if err != nil {
			return err
		}
		return n.note(ctx, tx, b, p, BudgetRefused, 0, settled, n.now())
	})
	if err != nil {
		n.mu.Lock()
		delete(n.told, p)
		n.mu.Unlock()
	}
	return wrap("note a refusal", err)
}

// Periods notes which budgets count anew.
func (n *Notices) Periods(ctx context.Context) (err error) {
	rows, err := n.DB.Reader().QueryContext(ctx, `SELECT `+budgetColumns+` FROM edge_budgets b WHERE b.period <> 'total' AND `+heard)
	if err != nil {
		return wrap("list budgets", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var anew []budget.Budget
	now := n.now()
	for rows.Next() {
		b, err := scanBudget(rows)
		if err != nil {
			return wrap("list budgets", err)
		}
		if sqldb.FromMicros(b.Start(now, n.Zone)).After(b.CreateTime) {
			anew = append(anew, b)
		}
	}
	if err := rows.Err(); err != nil {
		return wrap("list budgets", err)
	}
	_ = rows.Close()
	for _, b := range anew {
		p := ledger.Period{Budget: b.UID, Start: b.Start(now, n.Zone)}
		if n.known(p) {
			continue
		}
		if err := n.DB.InTx(ctx, func(ctx context.Context, tx *sql.Tx) error {
			return n.note(ctx, tx, b, p, BudgetPeriodStarted, 0, 0, sqldb.FromMicros(p.Start))
		}); err != nil {
			n.forget(p)
			return wrap("note a period", err)
		}
	}
	return nil
}

// begun is by what a period's beginning is remembered among the refusals.
func begun(p ledger.Period) ledger.Period { return ledger.Period{Budget: -p.Budget, Start: p.Start} }

// known reports whether this edge has noted that a period began, and remembers it.
func (n *Notices) known(p ledger.Period) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.told[begun(p)] {
		return true
	}
	if len(n.told) >= maxTold {
		clear(n.told)
	}
	n.told[begun(p)] = true
	return false
}

func (n *Notices) forget(p ledger.Period) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.told, begun(p))
}

// body is what is sent.
type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

// data is how a budget stands.
type data struct {
	Tenant    string     `json:"tenant"`
	Budget    string     `json:"budget"`
	Scope     string     `json:"scope"`
	ScopeName string     `json:"scope_name,omitempty"`
	Period    string     `json:"period"`
	Unit      string     `json:"unit"`
	Amount    int64      `json:"amount"`
	Used      int64      `json:"used"`
	Threshold int32      `json:"threshold_percent,omitempty"`
	Hard      bool       `json:"hard"`
	Start     *time.Time `json:"start_time,omitempty"`
	End       *time.Time `json:"end_time,omitempty"`
}

// testEvent is one that is told on request.
func testEvent(id, tenant string, now time.Time) (text []byte, name string, err error) {
	text, err = json.Marshal(struct {
		Type      string            `json:"type"`
		Timestamp time.Time         `json:"timestamp"`
		Data      map[string]string `json:"data"`
	}{Test, now.UTC(), map[string]string{"tenant": tenant}})
	return text, eventID(id), err
}

func eventID(id string) string { return "evt_" + strings.ReplaceAll(id, "-", "") }

// note keeps an event of a budget. A threshold of another amount is another event.
func (n *Notices) note(ctx context.Context, tx *sql.Tx, b budget.Budget, p ledger.Period, kind string, threshold int32, used int64, at time.Time) error {
	e := Event{
		ID: eventID(n.IDs.New()), Tenant: b.Tenant, Type: kind, Time: at,
		Key: fmt.Sprintf("budget/%d/%d/%s/%d/%d", p.Budget, p.Start, kind, threshold, b.Amount),
	}
	if kind == BudgetPeriodStarted {
		e.Key = fmt.Sprintf("budget/%d/%d/%s", p.Budget, p.Start, kind)
	}
	d := data{
		Tenant: b.Tenant, Budget: b.ID, Scope: string(b.Scope), ScopeName: b.Name, Period: string(b.Every), Unit: string(b.Unit),
		Amount: b.Amount, Used: used, Threshold: threshold, Hard: b.Hard,
	}
	if p.Start > 0 {
		start := sqldb.FromMicros(p.Start)
		end := b.End(start, n.Zone).UTC()
		d.Start, d.End, e.KeepUntil = &start, &end, end.Add(keyKept)
	}
	text, err := json.Marshal(body{Type: kind, Timestamp: at, Data: d})
	if err != nil {
		return err
	}
	e.Body = string(text)
	return note(ctx, tx, e)
}

// now is as exact as what the store keeps.
func (n *Notices) now() time.Time { return n.Clock.Now().UTC().Truncate(time.Microsecond) }

// Component notes periods that begin, and refusals.
func (n *Notices) Component() lifecycle.Component {
	failed := func(ctx context.Context, err error) {
		if err != nil && ctx.Err() == nil {
			n.Log.WarnContext(ctx, "an event for webhooks cannot be noted; it is tried again", telemetry.Err(err))
		}
	}
	return lifecycle.Component{Name: "webhooks: events", Run: func(ctx context.Context) error {
		ticker := n.Clock.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case p := <-n.refusals:
				failed(ctx, n.noteRefusal(ctx, p))
			case <-ticker.C():
				failed(ctx, n.Periods(ctx))
			case <-ctx.Done():
				return nil
			}
		}
	}}
}
