package issue

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func start() time.Time { return time.Unix(1_800_000_000, 0) }

// keys is API keys in memory.
type keys struct {
	mu   sync.Mutex
	held map[string]authn.Principal // by id
}

func newKeys() *keys {
	p := authn.Principal{Caller: identity.NewCaller("acme", "billing", []string{"developer"}, []string{"ops"}), RequestsPerMinute: 7}
	p.Caller.KeyID = "k1"
	return &keys{held: map[string]authn.Principal{"k1": p}}
}

func (k *keys) Authenticate(ctx context.Context, text string) (*authn.Principal, error) {
	p, err := k.ByID(ctx, text)
	return &p, err
}

func (k *keys) ByID(_ context.Context, id string) (authn.Principal, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.held[id]
	if !ok {
		return p, &authn.RefusedError{Cause: authn.Revoked, KeyID: id}
	}
	return p, nil
}

func (k *keys) change(f func(p *authn.Principal)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.held["k1"]
	f(&p)
	k.held["k1"] = p
}

func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite://" + filepath.Join(t.TempDir(), "edge.db")
}

// edge is one of several on a store.
type edge struct {
	*Service
	t    testing.TB
	keys *keys
	db   *sqldb.DB
}

func newEdge(tb testing.TB, dsn string, ck clock.Clock, k *keys, change func(*Config)) *edge {
	tb.Helper()
	db, err := schema.Open(tb.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	c := DefaultConfig()
	c.Issuer = "https://api.example"
	if change != nil {
		change(&c)
	}
	c.Complete("", "127.0.0.1:8080")
	s, err := New(c, Deps{DB: db, Keys: k, Clock: ck, Logger: slog.New(slog.DiscardHandler), Others: []string{"https://other.example"}, CacheSize: 100})
	if err != nil {
		tb.Fatal(err)
	}
	return &edge{Service: s, t: tb, keys: k, db: db}
}

// issue returns a token for k1.
func (e *edge) issue(r request, bound authn.Confirmation) (string, error) {
	e.t.Helper()
	p, err := e.keys.ByID(e.t.Context(), "k1")
	if err != nil {
		e.t.Fatal(err)
	}
	i := issuer{e.config, e.ring, e.deps.Clock}
	out, err := i.issue(e.t.Context(), p, r, bound)
	return out.Token, err
}

func (e *edge) mustIssue(r request) string {
	e.t.Helper()
	token, err := e.issue(r, authn.Confirmation{})
	if err != nil {
		e.t.Fatal(err)
	}
	return token
}
