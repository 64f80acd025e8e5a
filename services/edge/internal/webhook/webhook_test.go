package webhook

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/edge/internal/budget"
	"github.com/poterne/poterne/services/edge/internal/ledger"
)

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
	t.Run("slow receivers of one tenant delay no other", func(t *testing.T) { slowTenant(t, dsn(t)) })
	t.Run("a dead receiver costs one attempt a step", func(t *testing.T) { deadReceiver(t, dsn(t)) })
	t.Run("an event that is never taken holds no other up", func(t *testing.T) { poison(t, dsn(t)) })
	t.Run("what waits for too long ends", func(t *testing.T) { tooLong(t, dsn(t)) })
	t.Run("a secret is rotated", func(t *testing.T) { rotated(t, dsn(t)) })
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
	list, err := one.store.Due(t.Context(), c.Now(), 1, 10)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	rival := list[0]
	if mine, err := one.store.take(t.Context(), &list[0], c.Now().Add(35*time.Second)); err != nil || !mine {
		t.Fatalf("%v, %v", mine, err)
	}
	if again, err := two.store.take(t.Context(), &rival, c.Now().Add(35*time.Second)); err != nil || again {
		t.Fatalf("both have it: %v", err)
	}
	two.deliver()
	expect(t, "while it is the first one's", r.told())
	c.Advance(36 * time.Second)
	two.deliver()
	expect(t, "when its time is over", r.told(), "budget.exhausted 100")
	// It was only slow: what it says does not count any more.
	if err := one.store.finish(t.Context(), &list[0], outcome{state: Pending, next: c.Now(), wait: c.Now().Add(time.Hour), failures: 9, result: Result{Status: 500}}); err != nil {
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
	if opened, err := got.open(e.sender.masters, c.Now()); err != nil || len(opened) != 1 || opened[0] != secret {
		t.Errorf("the secret is another: %v", err)
	}
	moved := got
	moved.Tenant = "other"
	if _, err := moved.open(e.sender.masters, c.Now()); err == nil {
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
