package apikey

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
)

// watched is a store that counts reads, can go away, and can hold a Get back.
type watched struct {
	Store
	gets, polls, changes, writes atomic.Int32
	away                         atomic.Bool
	before                       func()          // called by Get before it reads
	hold                         func(id string) // called by Get after it has read
}

var errAway = errors.New("no route to host")

func (w *watched) Get(ctx context.Context, id string) (Record, error) {
	w.gets.Add(1)
	if w.away.Load() {
		return Record{}, errAway
	}
	if w.before != nil {
		w.before()
	}
	r, err := w.Store.Get(ctx, id)
	if w.hold != nil {
		w.hold(id)
	}
	return r, err
}

func (w *watched) GetAll(ctx context.Context, ids []string) ([]Record, error) {
	if w.away.Load() {
		return nil, errAway
	}
	return w.Store.GetAll(ctx, ids)
}

func (w *watched) Used(ctx context.Context, uses map[string]time.Time) error {
	w.writes.Add(1)
	if w.away.Load() {
		return errAway
	}
	return w.Store.Used(ctx, uses)
}

func (w *watched) Revision(ctx context.Context) (int64, error) {
	w.polls.Add(1)
	if w.away.Load() {
		return 0, errAway
	}
	return w.Store.Revision(ctx)
}

func (w *watched) Changes(ctx context.Context, after int64, limit int) ([]Record, error) {
	w.changes.Add(1)
	if w.away.Load() {
		return nil, errAway
	}
	return w.Store.Changes(ctx, after, limit)
}

// peppersOf are those that cfg names, and none when it names none.
func peppersOf(cfg Config) Peppers {
	if cfg.Pepper == "" {
		return Peppers{}
	}
	return NewPeppers(cfg.AcceptUnpeppered, append([]config.Secret{cfg.Pepper}, cfg.PreviousPeppers...)...)
}

type bench struct {
	*Manager
	store *watched
	clock *clock.Fake
}

// replica returns a manager of its own over the database at dsn.
func replica(t *testing.T, dsn string, change func(*Config)) bench {
	t.Helper()
	cfg := DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	b := bench{store: &watched{Store: openSQL(t, dsn)}, clock: clock.NewFake(at(0))}
	var err error
	b.Manager, err = NewManager(t.Context(), cfg, peppersOf(cfg), b.store, b.clock, rand.Reader, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b bench) create(t *testing.T) (Record, string) {
	t.Helper()
	rec, key, err := b.Create(t.Context(), Wanted{Name: "ci", Tenant: "acme", Roles: []string{"reader"}})
	if err != nil {
		t.Fatal(err)
	}
	return rec, key.Reveal()
}

func (b bench) expect(t *testing.T, text string, want Cause) {
	t.Helper()
	rec, err := b.Verify(t.Context(), text)
	var invalid *InvalidError
	switch {
	case want == "" && err != nil:
		t.Fatalf("not accepted: %v", err)
	case want != "" && (!errors.As(err, &invalid) || invalid.Cause != want):
		t.Fatalf("got %+v, %v; want %s", rec, err, want)
	}
}

func TestVerify(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	rec, text := b.create(t)
	if rec.Subject != "key-"+rec.ID {
		t.Errorf("the subject is %q", rec.Subject)
	}
	b.expect(t, text, "")
	b.expect(t, text[:len(text)-1], Malformed)
	b.expect(t, "sk-openai", Malformed)
	b.expect(t, newKey(t).Reveal(), Unknown)

	// The right id with another key's secret.
	other := newKey(t).Reveal()
	body := text[:len(Prefix)+idLen+1] + other[len(Prefix)+idLen+1:keyLen-sumLen]
	sum := checksum(body)
	b.expect(t, body+string(sum[:]), Unknown)

	if _, err := b.Revoke(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	b.expect(t, text, Revoked)
}

// What is made of a key is found again until anything of the key changes.
func TestWhatIsMadeOfAKeyIsKept(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	rec, text := b.create(t)
	verify := func() Verified {
		t.Helper()
		v, err := b.Verify(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	verify().Made.Store("made")
	if got := verify().Made.Load(); got != "made" {
		t.Errorf("it is %v", got)
	}
	if _, err := b.Update(t.Context(), rec.ID, func(r *Record) error { r.RequestsPerMinute++; return nil }); err != nil {
		t.Fatal(err)
	}
	if v := verify(); v.Made.Load() != nil || v.RequestsPerMinute != rec.RequestsPerMinute+1 {
		t.Errorf("after a change it is %v", v.Made.Load())
	}
}

func TestExpiry(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	_, key, err := b.Create(t.Context(), Wanted{Tenant: "acme", ExpireTime: at(60)})
	if err != nil {
		t.Fatal(err)
	}
	b.clock.Advance(59 * time.Second)
	b.expect(t, key.Reveal(), "")
	b.clock.Advance(time.Second)
	b.expect(t, key.Reveal(), Expired)
}

func TestVerifyingCostsNoReads(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	_, text := b.create(t)
	stranger := newKey(t).Reveal()
	for range 100 {
		b.expect(t, text, "")
		b.expect(t, stranger, Unknown)
	}
	if n := b.store.gets.Load(); n != 2 {
		t.Fatalf("%d reads for one key that is there and one that is not", n)
	}
	// A change elsewhere costs one more small read, not one for every key.
	b.create(t)
	for range 10 {
		if err := b.Follow(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.expect(t, text, "")
	}
	if gets, changes := b.store.gets.Load(), b.store.changes.Load(); gets != 2 || changes != 1 {
		t.Fatalf("%d reads of keys, %d of changes", gets, changes)
	}
}

func TestRevocationReachesOtherReplicas(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := replica(t, dsn, nil), replica(t, dsn, nil)
	rec, text := one.create(t)
	two.expect(t, text, "")

	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := two.follow(ctx); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	if err := two.clock.BlockUntil(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Revoke(t.Context(), rec.ID); err != nil {
		t.Fatal(err)
	}
	one.expect(t, text, Revoked)
	two.clock.Advance(DefaultConfig().PollInterval)
	if err := two.clock.BlockUntil(t.Context(), 1); err != nil { // the poll is over
		t.Fatal(err)
	}
	two.expect(t, text, Revoked)
}

func TestNewKeyReachesAReplicaThatDidNotKnowIt(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := replica(t, dsn, nil), replica(t, dsn, nil)
	rec, key, err := one.make(Wanted{Tenant: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	two.expect(t, key.Reveal(), Unknown)
	if _, err := one.store.Create(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	if err := two.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	two.expect(t, key.Reveal(), "")
}

func TestStoreAway(t *testing.T) {
	b := replica(t, sqliteDSN(t), func(c *Config) { c.StaleFor = time.Minute })
	_, known := b.create(t)
	_, fresh := b.create(t)
	b.expect(t, known, "")
	stranger := newKey(t).Reveal()
	b.expect(t, stranger, Unknown)

	b.store.away.Store(true)
	b.clock.Advance(30 * time.Second)
	if err := b.Follow(t.Context()); err == nil {
		t.Fatal("the store is away and nobody noticed")
	}
	b.expect(t, known, "")
	for name, text := range map[string]string{"a key not seen before": fresh, "one that did not exist": stranger} {
		if _, err := b.Verify(t.Context(), text); !Away(err) {
			t.Errorf("%s: %v; it must not be called wrong when nobody can tell", name, err)
		}
	}
	b.clock.Advance(31 * time.Second)
	if _, err := b.Verify(t.Context(), known); !Away(err) {
		t.Fatalf("a known key held longer than it may: %v", err)
	}

	b.store.away.Store(false)
	if err := b.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.expect(t, known, "")
	b.expect(t, fresh, "")
	b.expect(t, stranger, Unknown)
}

func TestChangeDuringARead(t *testing.T) {
	dsn := sqliteDSN(t)
	one, two := replica(t, dsn, nil), replica(t, dsn, nil)
	rec, text := one.create(t)
	// Between two's read of the key and the moment it remembers it, the key is
	// revoked and two follows that change.
	two.store.hold = func(string) {
		two.store.hold = nil
		if _, err := one.Revoke(t.Context(), rec.ID); err != nil {
			t.Error(err)
		}
		if err := two.Follow(t.Context()); err != nil {
			t.Error(err)
		}
	}
	two.expect(t, text, "") // it held when it was read
	two.expect(t, text, Revoked)
}

func TestManyAskForOneKeyAtOnce(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	_, text := b.create(t)
	const callers = 20
	release := make(chan struct{})
	b.store.hold = func(string) { <-release }
	var wg sync.WaitGroup
	var waiting sync.WaitGroup
	waiting.Add(callers)
	for range callers {
		wg.Go(func() {
			waiting.Done()
			if _, err := b.Verify(t.Context(), text); err != nil {
				t.Error(err)
			}
		})
	}
	waiting.Wait()
	close(release)
	wg.Wait()
	if n := b.store.gets.Load(); n > 2 { // one may come after the first is over
		t.Fatalf("%d reads for %d callers", n, callers)
	}
}

func TestCallerThatLeavesDoesNotSpoilTheReadForOthers(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	_, text := b.create(t)
	ctx, cancel := context.WithCancel(t.Context())
	entered, release := make(chan struct{}), make(chan struct{})
	b.store.before = func() { close(entered); <-release }
	left := make(chan error)
	go func() {
		_, err := b.Verify(ctx, text)
		left <- err
	}()
	<-entered
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(release)
	b.expect(t, text, "")
	if n := b.store.gets.Load(); n != 1 {
		t.Fatalf("read %d times: the first read ended with its caller", n)
	}
}

func TestStoreThatWasPutBack(t *testing.T) {
	b := replica(t, sqliteDSN(t), nil)
	_, text := b.create(t)
	b.create(t)
	b.expect(t, text, "")
	if err := b.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.store.Store = openSQL(t, sqliteDSN(t)) // an older backup, here an empty one
	if err := b.Follow(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.expect(t, text, Unknown)
}

// still is a store in which nothing changes.
type still struct{ Store }

func (still) Revision(context.Context) (int64, error) { return 0, nil }

func BenchmarkVerify(b *testing.B) {
	k, h := newKey(b), NewPeppers(false, "a pepper of at least 32 characters")
	cfg := DefaultConfig()
	c := clock.Real()
	cache, err := newCache(cfg, still{}, c, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := cache.Poll(b.Context()); err != nil {
		b.Fatal(err)
	}
	cache.apply(Record{ID: k.ID, Secret: h.Hash(k)})
	m := &Manager{cfg: cfg, cache: cache, peppers: h, usage: newUsage(), clock: c}
	text := k.Reveal()
	for b.Loop() {
		if _, err := m.Verify(b.Context(), text); err != nil {
			b.Fatal(err)
		}
	}
}
