package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/envelope"
	"github.com/poterne/poterne/services/edge/internal/ledger"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // read only

func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "edge.db")
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

func testConfig() Config {
	c := DefaultConfig()
	c.Key = config.Secret("m1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)))
	c.AllowHTTP, c.AllowNetworks, c.Timeout, c.Attempts = true, []string{"127.0.0.0/8"}, 5*time.Second, 4
	return c
}

// edge is what one edge has of all this.
type edge struct {
	t         *testing.T
	db        *sqldb.DB
	clock     *clock.Fake
	store     *SQLStore
	sender    *Sender
	notices   *Notices
	ledger    *ledger.SQLStore
	deliverer *Deliverer

	mu       sync.Mutex
	outcomes []string
}

func newEdge(t *testing.T, dsn, name string, c *clock.Fake, cfg Config) *edge {
	t.Helper()
	e := &edge{t: t, db: openDB(t, dsn), clock: c}
	var err error
	if e.sender, err = NewSender(cfg, c); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	e.store, e.ledger = NewSQLStore(e.db), ledger.NewSQLStore(e.db)
	e.notices = NewNotices(NoticesDeps{DB: e.db, Zone: time.UTC, Clock: c, IDs: ids.Sequence(name), Log: log})
	e.ledger.Watch = e.notices.Moved
	e.deliverer = NewDeliverer(DelivererDeps{
		Config: cfg, Store: e.store, Sender: e.sender, Clock: c, Random: func() float64 { return 0.5 }, Log: log,
		Attempted: func(_ context.Context, outcome string) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.outcomes = append(e.outcomes, outcome)
		},
	})
	return e
}

func (e *edge) budget(id string, amount int64, warnings ...int32) budget.Budget {
	e.t.Helper()
	b, err := budget.NewSQLStore(e.db).Set(e.t.Context(), budget.Budget{
		Tenant: "acme", ID: id, Scope: budget.Tenant, Every: budget.Day, Unit: budget.Tokens, Amount: amount, Warnings: warnings, Hard: true, UpdateTime: e.clock.Now(),
	}, true)
	if err != nil {
		e.t.Fatal(err)
	}
	return b
}

// hook keeps a webhook, and returns its secret.
func (e *edge) hook(tenant, id, url string, events ...string) (Hook, envelope.Key) {
	e.t.Helper()
	secret, err := envelope.NewKey()
	if err != nil {
		e.t.Fatal(err)
	}
	h := Hook{Tenant: tenant, ID: id, UID: tenant + "-" + id, URL: url, Events: events, CreateTime: e.clock.Now(), UpdateTime: e.clock.Now()}
	if err := h.seal(e.sender.masters, secret); err != nil {
		e.t.Fatal(err)
	}
	if err := e.store.Put(e.t.Context(), h); err != nil {
		e.t.Fatal(err)
	}
	return h, secret
}

// settle has a request of n tokens count against a budget.
func (e *edge) settle(id string, b budget.Budget, n int64) {
	e.t.Helper()
	now := e.clock.Now()
	charge := ledger.Charge{Period: ledger.Period{Budget: b.UID, Start: b.Start(now, time.UTC)}, Amount: n}
	if _, err := e.ledger.Write(e.t.Context(), "holder", []ledger.Entry{{
		ID: id, Time: now, Dimensions: ledger.Dimensions{Tenant: b.Tenant}, Tokens: ledger.Tokens{Input: n}, Outcome: ledger.Whole, Charges: []ledger.Charge{charge},
	}}); err != nil {
		e.t.Fatal(err)
	}
}

// deliver carries out what is due.
func (e *edge) deliver() {
	e.t.Helper()
	for range 20 { // one of a webhook at a time
		if err := e.deliverer.Once(e.t.Context()); err != nil {
			e.t.Fatal(err)
		}
		e.deliverer.Wait()
	}
}

// receiver is somebody's server: it checks signatures as Standard Webhooks says.
type receiver struct {
	*httptest.Server

	t      *testing.T
	clock  clock.Clock
	mu     sync.Mutex
	secret envelope.Key
	status int
	got    []received
}

type received struct {
	ID   string
	Body body
}

func receive(t *testing.T, c clock.Clock) *receiver {
	t.Helper()
	r := &receiver{t: t, clock: c, status: http.StatusNoContent}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		raw, _ := io.ReadAll(req.Body)
		id, at := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
		mac := hmac.New(sha256.New, r.secret[:])
		fmt.Fprintf(mac, "%s.%s.%s", id, at, raw)
		if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); req.Header.Get("webhook-signature") != want {
			t.Errorf("signed %q, want %q", req.Header.Get("webhook-signature"), want)
		}
		if at != fmt.Sprint(c.Now().Unix()) || req.Header.Get("Content-Type") != "application/json" || req.Method != http.MethodPost {
			t.Errorf("%s %v", req.Method, req.Header)
		}
		var b body
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Errorf("%v: %s", err, raw)
		}
		r.got = append(r.got, received{id, b})
		w.WriteHeader(r.status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// told is what it was told since it was asked last, as type and threshold.
func (r *receiver) told() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.got {
		out = append(out, fmt.Sprint(g.Body.Type, " ", g.Body.Data.Threshold))
	}
	r.got = nil
	slices.Sort(out) // what happens at once comes in any order
	return out
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

func TestSQLite(t *testing.T) { testWebhooks(t, sqliteDSN) }

// testWebhooks holds for every database.
func testWebhooks(t *testing.T, dsn func(t *testing.T) string) {
	t.Helper()
	t.Run("each threshold is told once by all edges", func(t *testing.T) { toldOnce(t, dsn(t)) })
	t.Run("what fails is tried again and then dead", func(t *testing.T) { triedAgain(t, dsn(t)) })
	t.Run("what a killed edge had begun is told by another", func(t *testing.T) { killed(t, dsn(t)) })
	t.Run("a period that begins is told once", func(t *testing.T) { periods(t, dsn(t)) })
	t.Run("a refusal is told once", func(t *testing.T) { refusals(t, dsn(t)) })
	t.Run("hooks are kept", func(t *testing.T) { hooksAreKept(t, dsn(t)) })
}

func toldOnce(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	one, two := newEdge(t, dsn, "one", c, testConfig()), newEdge(t, dsn, "two", c, testConfig())
	r := receive(t, c)
	b := one.budget("lab", 1000, 50, 90)
	one.settle("before", b, 600) // nobody is to be told
	var h Hook
	h, r.secret = one.hook("acme", "ops", r.URL)
	other := receive(t, c)
	_, other.secret = one.hook("other", "ops", other.URL)
	var group sync.WaitGroup
	for n := range 8 { // both edges settle at once
		group.Go(func() { []*edge{one, two}[n%2].settle(fmt.Sprint("r", n), b, 40) })
	}
	group.Wait()
	one.deliver()
	two.deliver()
	got := r.told()
	expect(t, "past 90", got, "budget.warning 50", "budget.warning 90")
	two.settle("last", b, 500)
	one.deliver()
	two.deliver()
	expect(t, "exhausted", r.told(), "budget.exhausted 100")
	one.settle("more", b, 5)
	one.deliver()
	expect(t, "more is used", r.told())
	if b, err := budget.NewSQLStore(one.db).Set(t.Context(), budget.Budget{
		Tenant: "acme", ID: "lab", Scope: budget.Tenant, Every: budget.Day, Unit: budget.Tokens, Amount: 1500, Warnings: []int32{50, 99}, UpdateTime: c.Now(),
	}, true); err != nil {
		t.Fatal(err)
	} else {
		one.settle("raised", b, 1)
	}
	one.deliver()
	expect(t, "of another amount", r.told(), "budget.warning 50")
	c.Advance(24 * time.Hour)
	one.settle("tomorrow", b, 800)
	two.deliver()
	expect(t, "the next day", r.told(), "budget.warning 50")
	expect(t, "another tenant", other.told())
	list, err := one.store.Deliveries(t.Context(), h.UID, Delivered, 100)
	if err != nil || len(list) != 5 || list[0].Status != http.StatusNoContent || list[0].Attempts != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func triedAgain(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	e := newEdge(t, dsn, "one", c, testConfig())
	r := receive(t, c)
	var h Hook
	h, r.secret = e.hook("acme", "ops", r.URL, BudgetExhausted)
	r.answer(http.StatusInternalServerError)
	e.settle("all", e.budget("lab", 10, 50), 10)
	var waits []time.Duration
	for range 4 {
		begin := c.Now()
		for e.deliver(); len(r.got) == 0; e.deliver() {
			if c.Now().Sub(begin) > 10*time.Minute {
				t.Fatal("it is not tried again")
			}
			c.Advance(time.Second)
		}
		waits = append(waits, c.Now().Sub(begin))
		expect(t, "one attempt", r.told(), "budget.exhausted 100")
	}
	if fmt.Sprint(waits) != "[0s 5s 20s 1m20s]" {
		t.Errorf("the waits are %v", waits)
	}
	c.Advance(24 * time.Hour)
	e.deliver()
	expect(t, "dead", r.told())
	list, err := e.store.Deliveries(t.Context(), h.UID, "", 10)
	if err != nil || len(list) != 1 || list[0].State != Dead || list[0].Attempts != 4 || list[0].Status != 500 {
		t.Fatalf("%+v, %v", list, err)
	}
	if got := strings.Join(e.outcomes, " "); got != "failed failed failed dead" {
		t.Errorf("counted: %s", got)
	}
	r.answer(http.StatusOK)
	if err := e.store.Redeliver(t.Context(), h.UID, list[0].Event, c.Now()); err != nil {
		t.Fatal(err)
	}
	e.deliver()
	expect(t, "on request", r.told(), "budget.exhausted 100")
	if err := e.store.Redeliver(t.Context(), h.UID, "evt_none", c.Now()); err != ErrNoEvent { //nolint:errorlint // the very value
		t.Errorf("%v", err)
	}
	if err := e.store.Prune(t.Context(), c.Now().Add(time.Hour), c.Now().Add(30*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := e.db.QueryRowContext(t.Context(), `SELECT (SELECT COUNT(*) FROM edge_webhook_events) + (SELECT COUNT(*) FROM edge_webhook_deliveries)`).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d rows are left: %v", left, err)
	}
}

// An edge is gone between taking a delivery and noting what came of it.
func killed(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	one, two := newEdge(t, dsn, "one", c, testConfig()), newEdge(t, dsn, "two", c, testConfig())
	r := receive(t, c)
	_, r.secret = one.hook("acme", "ops", r.URL)
	one.settle("all", one.budget("lab", 10), 10)
	list, err := one.store.Due(t.Context(), c.Now(), 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if mine, err := one.store.take(t.Context(), list[0], c.Now().Add(35*time.Second)); err != nil || !mine {
		t.Fatalf("%v, %v", mine, err)
	}
	if again, err := two.store.take(t.Context(), list[0], c.Now().Add(35*time.Second)); err != nil || again {
		t.Fatalf("both have it: %v", err)
	}
	two.deliver()
	expect(t, "while it is the first one's", r.told())
	c.Advance(36 * time.Second)
	two.deliver()
	expect(t, "when its time is over", r.told(), "budget.exhausted 100")
	// It was only slow: what it says does not count any more.
	if err := one.store.finish(t.Context(), list[0], Pending, c.Now(), Result{Status: 500}); err != nil {
		t.Fatal(err)
	}
	two.deliver()
	expect(t, "what was late", r.told())
}

func periods(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	one, two := newEdge(t, dsn, "one", c, testConfig()), newEdge(t, dsn, "two", c, testConfig())
	r := receive(t, c)
	one.budget("lab", 1000)
	_, r.secret = one.hook("acme", "ops", r.URL)
	look := func() {
		t.Helper()
		for _, e := range []*edge{one, two, one} {
			if err := e.notices.Periods(t.Context()); err != nil {
				t.Fatal(err)
			}
			e.deliver()
		}
	}
	look()
	expect(t, "the day that it was made", r.told())
	c.Advance(12 * time.Hour)
	look()
	expect(t, "the next day", r.told(), "budget.period_started 0")
	c.Advance(30 * time.Hour)
	look()
	expect(t, "the day after that", r.told(), "budget.period_started 0")
}

func refusals(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	one, two := newEdge(t, dsn, "one", c, testConfig()), newEdge(t, dsn, "two", c, testConfig())
	r := receive(t, c)
	b := one.budget("lab", 1000)
	_, r.secret = one.hook("acme", "ops", r.URL)
	p := ledger.Period{Budget: b.UID, Start: b.Start(c.Now(), time.UTC)}
	for _, e := range []*edge{one, two} {
		for range 3 {
			e.notices.Refused(p)
		}
		if n := len(e.notices.refusals); n != 1 {
			t.Errorf("%d are to be noted", n)
		}
		if err := e.notices.noteRefusal(t.Context(), <-e.notices.refusals); err != nil {
			t.Fatal(err)
		}
		e.deliver()
	}
	expect(t, "refused", r.told(), "budget.refused 0")
}

func hooksAreKept(t *testing.T, dsn string) {
	t.Helper()
	c := clock.NewFake(noon)
	e := newEdge(t, dsn, "one", c, testConfig())
	h, secret := e.hook("acme", "ops", "https://example.com/a?b=c", BudgetWarning)
	got, err := e.store.Get(t.Context(), "acme", "ops")
	if err != nil || got.URL != h.URL || got.Events[0] != BudgetWarning || !got.CreateTime.Equal(noon) {
		t.Fatalf("%+v, %v", got, err)
	}
	if opened, err := got.open(e.sender.masters); err != nil || opened != secret {
		t.Errorf("the secret is another: %v", err)
	}
	moved := got
	moved.Tenant = "other"
	if _, err := moved.open(e.sender.masters); err == nil {
		t.Error("the secret opens for another tenant")
	}
	var text string
	if err := e.db.QueryRowContext(t.Context(), `SELECT secret || url || uid FROM edge_webhooks`).Scan(&text); err != nil || strings.Contains(text, base64.StdEncoding.EncodeToString(secret[:])) {
		t.Errorf("the secret can be read in the store: %v", err)
	}
	taken := h
	taken.UID = "another"
	if err := e.store.Put(t.Context(), taken); err != ErrNotFound { //nolint:errorlint // the very value
		t.Errorf("its name is taken: %v", err)
	}
	for n := range MaxPerTenant {
		h.ID, h.UID = fmt.Sprint("n", n), fmt.Sprint("u", n)
		if err := e.store.Put(t.Context(), h); (err == nil) != (n < MaxPerTenant-1) {
			t.Errorf("hook %d: %v", n, err)
		}
	}
	if list, err := e.store.List(t.Context(), "acme"); err != nil || len(list) != MaxPerTenant {
		t.Errorf("%d, %v", len(list), err)
	}
	if err := e.store.Delete(t.Context(), "acme", "ops"); err != nil {
		t.Error(err)
	}
	if _, err := e.store.Get(t.Context(), "acme", "ops"); err != ErrNotFound { //nolint:errorlint // the very value
		t.Errorf("%v", err)
	}
}
