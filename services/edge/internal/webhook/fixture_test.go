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
	// exact: nothing but the secret's signature is there; signatures is how many were,
	// the last time.
	exact      bool
	signatures int
}

type received struct {
	ID   string
	Body body
}

func receive(t *testing.T, c clock.Clock) *receiver {
	t.Helper()
	r := &receiver{t: t, clock: c, status: http.StatusNoContent, exact: true}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		raw, _ := io.ReadAll(req.Body)
		id, at := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
		mac := hmac.New(sha256.New, r.secret[:])
		fmt.Fprintf(mac, "%s.%s.%s", id, at, raw)
		want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		signatures := strings.Split(req.Header.Get("webhook-signature"), " ")
		if !slices.Contains(signatures, want) || r.exact && len(signatures) != 1 {
			t.Errorf("signed %q, want %q", signatures, want)
		}
		r.signatures = len(signatures)
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
