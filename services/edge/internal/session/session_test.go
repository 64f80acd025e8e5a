package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

func start() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 123000, time.UTC) }

func openSQL(t *testing.T, dsn string) *SQLStore {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return NewSQLStore(db)
}

func sqliteDSN(t *testing.T) string {
	t.Helper()
	return "sqlite://" + t.TempDir() + "/edge.db"
}

func TestSQLiteStore(t *testing.T) { testStore(t, sqliteDSN(t)) }

func TestSQLiteReplicas(t *testing.T) { testReplicas(t, sqliteDSN(t)) }

func record(i int, subject string) Record {
	return Record{
		ID: fmt.Sprintf("%020x", i), Hash: fmt.Sprintf("hash-%d", i), Issuer: "https://id.example", Tenant: "acme", Subject: subject,
		Roles: []string{"reader"}, Agent: "Firefox", Address: "192.0.2.7",
		CreateTime: start(), LastUseTime: start().Add(time.Duration(i) * time.Second), ExpireTime: start().Add(time.Hour),
	}
}

// testStore is what every store does.
func testStore(t *testing.T, dsn string) {
	t.Helper()
	s, ctx := openSQL(t, dsn), t.Context()
	create := func(r Record, most int) Record {
		t.Helper()
		r, err := s.Create(ctx, r, most)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	list := func(f Filter) (ids []string) {
		t.Helper()
		if f.Limit == 0 {
			f.Limit = 100
		}
		f.Now, f.Idle = start().Add(time.Minute), time.Hour
		found, err := s.List(ctx, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			ids = append(ids, strings.TrimLeft(r.ID, "0"))
		}
		return ids
	}
	first := create(record(1, "ana"), 2)
	got, err := s.Get(ctx, "hash-1")
	if err != nil || got.ID != first.ID || got.Revision != 1 || !slices.Equal(got.Roles, []string{"reader"}) || len(got.Groups) != 0 ||
		!got.ExpireTime.Equal(first.ExpireTime) || !got.EndTime.IsZero() || got.Agent != "Firefox" || got.Address != "192.0.2.7" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := s.Get(ctx, "hash-2"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Find(ctx, "x"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.Create(ctx, record(1, "ana"), 2); err == nil {
		t.Error("the same secret twice")
	}
	create(record(2, "ana"), 2)
	create(record(3, "bob"), 2)
	create(record(4, "ana"), 2) // ends the one that was used least lately
	if ids := list(Filter{}); !slices.Equal(ids, []string{"2", "3", "4"}) {
		t.Errorf("left are %v", ids)
	}
	if err := s.Touch(ctx, map[string]time.Time{"hash-2": start().Add(30 * time.Second), "hash-4": start(), "hash-1": start().Add(time.Minute), "none": start()}); err != nil {
		t.Fatal(err)
	}
	create(record(5, "ana"), 2)
	if ids := list(Filter{Tenant: "acme", Subject: "ana"}); !slices.Equal(ids, []string{"2", "5"}) {
		t.Errorf("left of ana are %v", ids)
	}
	if ids := list(Filter{Limit: 1, After: fmt.Sprintf("%020x", 2)}); !slices.Equal(ids, []string{"3"}) {
		t.Errorf("a page is %v", ids)
	}
	if ids := list(Filter{Tenant: "globex"}); len(ids) != 0 {
		t.Errorf("of globex are %v", ids)
	}
	ended, err := s.End(ctx, fmt.Sprintf("%020x", 3), start().Add(time.Second))
	if err != nil || !ended.EndTime.Equal(start().Add(time.Second)) {
		t.Errorf("%+v, %v", ended, err)
	}
	if again, err := s.End(ctx, ended.ID, start().Add(time.Minute)); err != nil || !again.EndTime.Equal(ended.EndTime) {
		t.Errorf("it ends twice: %+v, %v", again, err)
	}
	if _, err := s.End(ctx, "none", start()); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	before, err := s.Revision(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		create(record(10+i, "eve"), 100)
	}
	if n, err := s.EndAll(ctx, "acme", "eve", fmt.Sprintf("%020x", 11), start().Add(time.Second)); err != nil || n != 4 {
		t.Errorf("%d ended, %v", n, err)
	}
	if n, err := s.EndAll(ctx, "globex", "eve", "", start()); err != nil || n != 0 {
		t.Errorf("of another tenant %d ended, %v", n, err)
	}
	// One change may be to more sessions than fit: none is left out.
	changes, err := s.Changes(ctx, before, 2)
	if err != nil || len(changes) != 5 {
		t.Errorf("%d changes, %v", len(changes), err)
	}
	if n, err := s.Prune(ctx, start().Add(time.Second), start().Add(-time.Hour)); err != nil || n != 2 { // 1 and 4 ended at the beginning
		t.Errorf("%d deleted, %v", n, err)
	}
	if n, err := s.Prune(ctx, start().Add(2*time.Hour), start()); err != nil || n != 8 {
		t.Errorf("%d deleted, %v", n, err)
	}
}

// bench is one edge's manager.
type bench struct {
	*Manager
	clock *clock.Fake
}

func newBench(t *testing.T, store Store, issuer string) bench {
	t.Helper()
	b := bench{clock: clock.NewFake(start())}
	cfg := DefaultConfig()
	cfg.MaxPerSubject = 3
	var err error
	b.Manager, err = NewManager(t.Context(), cfg, Deps{
		Store: store, Issuer: issuer, Clock: b.clock, Random: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b bench) create(t *testing.T) (Record, Secret) {
	t.Helper()
	r, s, err := b.Create(t.Context(), identity.NewCaller("acme", "ana", []string{"reader"}, []string{"ops"}), AtProvider{"ana@there", "login-1"}, "Fire\x00fox"+strings.Repeat("é", 300), "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	return r, s
}

// cause is why a secret is refused; empty: it is not.
func (b bench) cause(t *testing.T, s Secret) Cause {
	t.Helper()
	_, err := b.Verify(t.Context(), s)
	var invalid *InvalidError
	if err != nil && !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	if invalid == nil {
		return ""
	}
	return invalid.Cause
}

// testReplicas is what two edges with one store see of each other.
func testReplicas(t *testing.T, dsn string) {
	t.Helper()
	one, two := newBench(t, openSQL(t, dsn), "https://id.example"), newBench(t, openSQL(t, dsn), "https://id.example")
	r, s := one.create(t)
	if len([]rune(r.Agent)) != maxAgent || strings.ContainsRune(r.Agent, 0) || !slices.Equal(r.Groups, []string{"ops"}) {
		t.Errorf("%+v", r)
	}
	if one.cause(t, s) != "" || two.cause(t, s) != "" {
		t.Error("a new session is refused")
	}
	if c := newBench(t, openSQL(t, dsn), "https://other.example").cause(t, s); c != Unknown {
		t.Errorf("where another provider is trusted it is %q", c)
	}
	// Used on one, it goes on on both.
	for range 3 {
		for _, b := range []bench{one, two} {
			b.clock.Advance(50 * time.Minute)
		}
		if c := one.cause(t, s); c != "" {
			t.Fatalf("it is %s", c)
		}
		if err := errors.Join(one.turn(t.Context()), two.turn(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if c := two.cause(t, s); c != "" {
		t.Errorf("on the other it is %s", c)
	}
	if _, err := one.End(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if c := one.cause(t, s); c != Ended {
		t.Errorf("where it was ended it is %q", c)
	}
	if err := two.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := two.cause(t, s); c != Ended {
		t.Errorf("after a poll it is %q on the other", c)
	}
	if _, err := two.Find(t.Context(), r.ID); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	var all []Secret
	for range 5 {
		one.clock.Advance(time.Second)
		_, s := one.create(t)
		all = append(all, s)
	}
	for i, s := range all {
		if c := one.cause(t, s); (c == "") != (i >= 2) {
			t.Errorf("session %d of 5 is %q", i, c)
		}
	}
	if n, err := two.EndAll(t.Context(), "acme", "ana", ""); err != nil || n != 3 {
		t.Errorf("%d ended, %v", n, err)
	}
	if err := one.Follow(t.Context()); err != nil || one.cause(t, all[4]) != Ended {
		t.Error(err)
	}
}

func TestExpiry(t *testing.T) {
	store := openSQL(t, sqliteDSN(t))
	b := newBench(t, store, "https://id.example")
	_, used := b.create(t)
	for range 24 {
		if c := b.cause(t, used); c != "" {
			t.Fatalf("used all the time it is %s after %v", c, b.clock.Now().Sub(start()))
		}
		b.clock.Advance(30 * time.Minute)
		if err := b.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.cause(t, used); got != Expired {
		t.Errorf("after 12 hours it is %q", got)
	}
	r, s := b.create(t)
	b.clock.Advance(time.Hour)
	if err := b.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := b.cause(t, s); got != Expired {
		t.Errorf("not used for an hour it is %q", got)
	}
	if found, err := b.List(t.Context(), Filter{Limit: 10}); err != nil || len(found) != 0 {
		t.Errorf("listed are %v, %v", found, err)
	}
	b.clock.Advance(2 * time.Hour)
	if err := b.prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.store.Find(t.Context(), r.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("it is kept: %v", err)
	}
}

// away is a store that can be away.
type away struct {
	Store
	gone bool
	gets int
}

func (a *away) Get(ctx context.Context, hash string) (Record, error) {
	a.gets++
	if a.gone {
		return Record{}, errors.New("gone")
	}
	return a.Store.Get(ctx, hash)
}

func (a *away) Revision(ctx context.Context) (int64, error) {
	if a.gone {
		return 0, errors.New("gone")
	}
	return a.Store.Revision(ctx)
}

func (a *away) Touch(ctx context.Context, used map[string]time.Time) error {
	if a.gone {
		return errors.New("gone")
	}
	return a.Store.Touch(ctx, used)
}

func TestStoreAway(t *testing.T) {
	store := &away{Store: openSQL(t, sqliteDSN(t))}
	b := newBench(t, store, "https://id.example")
	r, s := b.create(t)
	for range 100 {
		if b.cause(t, s) != "" {
			t.Fatal("refused")
		}
	}
	if store.gets != 1 {
		t.Errorf("%d reads for 101 requests", store.gets)
	}
	store.gone = true
	b.clock.Advance(time.Minute)
	if err := b.turn(t.Context()); err == nil {
		t.Error("a store that is away is followed")
	}
	if b.cause(t, s) != "" {
		t.Error("a known session is refused")
	}
	if err := b.turn(t.Context()); err == nil {
		t.Error("a store that is away is followed")
	}
	b.clock.Advance(time.Second)
	if _, err := b.Verify(t.Context(), s); !Away(err) {
		t.Errorf("after a minute: %v", err)
	}
	store.gone = false
	b.clock.Advance(flushEvery)
	if err := b.turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What was used meanwhile is written, and not forgotten.
	if got, err := store.Find(t.Context(), r.ID); err != nil || !got.LastUseTime.Equal(start().Add(time.Minute)) {
		t.Errorf("used last at %v, %v", got.LastUseTime, err)
	}
}

func TestSecret(t *testing.T) {
	_, s, err := generate(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
		if got := fmt.Sprintf(verb, s); strings.Contains(got, s.Reveal()) {
			t.Errorf("%s shows it", verb)
		}
	}
	if again, err := ParseSecret(s.Reveal()); err != nil || again.hash() != s.hash() {
		t.Error(err)
	}
	for _, text := range []string{"", s.Reveal() + "A", s.Reveal()[1:], strings.Repeat("!", 43), s.Reveal()[:42] + "\n", strings.Repeat("A", 42) + "B"} {
		if _, err := ParseSecret(text); err == nil {
			t.Errorf("%q is taken for one", text)
		}
	}
	token := s.CSRFToken()
	if !s.CSRFMatches(token) || s.CSRFMatches("") || s.CSRFMatches(token[1:]) || strings.Contains(token, s.Reveal()) || token == s.hash() {
		t.Error("the forms' token")
	}
	for id, ok := range map[string]bool{"": false, strings.Repeat("0", 20): true, strings.Repeat("g", 20): false, strings.Repeat("0", 19): false} {
		if ValidID(id) != ok {
			t.Errorf("%q: %v", id, !ok)
		}
	}
	if _, _, err := generate(strings.NewReader("few")); err == nil {
		t.Error("a secret without chance")
	}
}
