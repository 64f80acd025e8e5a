package respcache_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/schema"
)

// store is a shared store in this process.
type store struct {
	mu   sync.Mutex
	kept map[string][]byte
	wait time.Duration
	fail error
	gets int
}

var errAway = errors.New("away")

func newStore() *store { return &store{kept: make(map[string][]byte)} }

func (s *store) Get(ctx context.Context, name string, limit int) ([]byte, error) {
	if s.wait > 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gets++
	v := s.kept[name]
	return v[:min(len(v), limit)], s.fail
}

func (s *store) Set(_ context.Context, name string, value []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[name] = value
	return s.fail
}

func (s *store) Claim(_ context.Context, name string, _ time.Duration) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, taken := s.kept[name]
	s.kept[name] = nil
	return !taken, s.fail
}

func (*store) Close() error { return nil }

// only returns the one value that is kept, once it is.
func (s *store) only(t *testing.T) (string, []byte) {
	t.Helper()
	for range 2000 {
		s.mu.Lock()
		for name, v := range s.kept {
			s.mu.Unlock()
			return name, v
		}
		s.mu.Unlock()
		<-time.After(time.Millisecond)
	}
	t.Fatal("nothing was written")
	return "", nil
}

func purges(t *testing.T, c clock.Clock, dsn string) *respcache.Purges {
	t.Helper()
	db, err := schema.Open(t.Context(), sqldb.DefaultConfig(dsn), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p, err := respcache.NewPurges(t.Context(), respcache.NewSQLStore(db), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func cache(t *testing.T, c clock.Clock, shared respcache.Shared, change func(*respcache.Config)) *respcache.Cache {
	t.Helper()
	cfg := respcache.DefaultConfig()
	cfg.Enabled = true
	if change != nil {
		change(&cfg)
	}
	out, err := respcache.New(t.Context(), respcache.Deps{
		Config: cfg, Secret: []byte(strings.Repeat("k", 32)), Clock: c, Log: slog.New(slog.DiscardHandler), Shared: shared,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return out
}

func entry(text string) *respcache.Entry {
	return &respcache.Entry{
		By: &inferencev1.ServedBy{Model: "small", Version: 3, Digest: "sha256:1"}, Streamed: true, Chunks: [][]byte{[]byte(text), []byte("b")},
		Usage: &commonv1.TokenUsage{PromptTokens: 7, CompletionTokens: 2}, Annotations: []*edgev1.Annotation{{DocumentId: "d", Number: 1}},
	}
}

func ask(t *testing.T, c *respcache.Cache, name, use, control, member string) *respcache.Ask {
	t.Helper()
	var uses, controls []string
	if use != "" {
		uses = []string{use}
	}
	if control != "" {
		controls = []string{control}
	}
	w, err := respcache.ParseWish(uses, controls, member)
	if err != nil {
		t.Fatal(err)
	}
	a := &respcache.Ask{Rule: c.Rule("acme", "small"), Wish: w}
	copy(a.Key[:], name)
	return a
}

func TestFreshness(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_900_000_000, 0))
	c := cache(t, clk, nil, func(cfg *respcache.Config) { cfg.TTL, cfg.StaleWhileRevalidate = time.Minute, 30*time.Second })
	if !c.Keep(ask(t, c, "k", "", "", ""), entry("a")) {
		t.Fatal("it was not kept")
	}
	find := func(control string) respcache.State {
		t.Helper()
		_, state := c.Find(t.Context(), ask(t, c, "k", "", control, ""))
		return state
	}
	want := func(control string, state respcache.State) {
		t.Helper()
		if got := find(control); got != state {
			t.Errorf("%q: %s, want %s", control, got, state)
		}
	}
	clk.Advance(40 * time.Second)
	want("", respcache.Hit)
	want("max-age=30", respcache.Miss)
	want("max-age=40", respcache.Hit)
	want("max-age=rubbish", respcache.Miss)
	want("max-age=99999999999999999999", respcache.Hit)
	want("min-fresh=20", respcache.Hit)
	want("min-fresh=21", respcache.Miss)
	want("no-cache", respcache.Miss)
	want("unknown, , =", respcache.Hit)
	clk.Advance(21 * time.Second) // stale for a second
	want("", respcache.Stale)
	want("stale-while-revalidate=0", respcache.Miss)
	want("max-stale=5, stale-while-revalidate=0", respcache.Stale)
	want("max-age=60", respcache.Miss)
	want("min-fresh=0", respcache.Miss)
	clk.Advance(29 * time.Second)
	want("", respcache.Miss)
	want("max-stale", respcache.Miss) // nobody kept it for longer
	if c.Keep(ask(t, c, "k", "", "", `{"ttl":0}`), entry("a")) {
		t.Error("an answer that may not be given again was kept")
	}
}

func TestWhatRequestsAsk(t *testing.T) {
	for member, ok := range map[string]bool{
		`{"use":"on"}`: true, `{"no-cache":true,"s-maxage":5}`: true, `{"use-cache":true}`: true, `{"ttl":60,"tools":true,"semantic":false}`: true,
		`null`: true, `{"use":"yes"}`: false, `{"ttl":-1}`: false, `{"ttl":"60"}`: false, `{"other":1}`: false, `true`: false, `[]`: false, `{"ttl":null}`: false,
	} {
		if _, err := respcache.ParseWish(nil, nil, member); (err == nil) != ok {
			t.Errorf("%s: %v", member, err)
		}
	}
	for header, ok := range map[string]bool{"on": true, "off": true, "on, tools": true, "ON,truncated": true, "yes": false, "": false, strings.Repeat("on,", 1000): false} {
		if _, err := respcache.ParseWish([]string{header}, nil, ""); (err == nil) != ok {
			t.Errorf("%.20q: %v", header, err)
		}
	}
	if _, err := respcache.ParseWish([]string{"on", "off"}, nil, ""); err == nil {
		t.Error("a header that comes twice is taken")
	}
}

func TestWhoPasses(t *testing.T) {
	wish := func(use respcache.Use) respcache.Wish { return respcache.Wish{Use: use} }
	for _, c := range []struct {
		rule, wish    respcache.Use
		deterministic bool
		want          string
	}{
		{respcache.Off, respcache.All, true, respcache.PassOff},
		{respcache.All, respcache.Off, true, respcache.PassDeclined},
		{respcache.Asked, "", true, respcache.PassNotAsked},
		{respcache.Asked, respcache.All, false, ""},
		{respcache.Deterministic, "", true, ""},
		{respcache.Deterministic, "", false, respcache.PassNotAsked},
		{respcache.All, "", false, ""},
	} {
		r := respcache.Rule{Use: c.rule}
		if got := r.Passes(wish(c.wish), c.deterministic); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

// Who can write the shared store can put no answer there, nor one of another
// question in its place.
func TestSharedAnswersAreSealed(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_900_000_000, 0))
	s := newStore()
	long := strings.Repeat("a secret answer ", 200)
	c := cache(t, clk, s, nil)
	a := ask(t, c, "k", "", "", "")
	c.Keep(a, entry(long))
	name, value := s.only(t)
	if strings.Contains(string(value), "secret") || strings.Contains(name, "k\x00") {
		t.Error("the answer can be read")
	}
	if len(value) > len(long) {
		t.Errorf("%d bytes of a text that repeats itself", len(value))
	}
	other := cache(t, clk, s, nil)
	got, state := other.Find(t.Context(), a)
	if state != respcache.Hit || string(got.Chunks[0]) != long || got.Usage.GetPromptTokens() != 7 || got.By.GetVersion() != 3 || got.Annotations[0].GetDocumentId() != "d" || !got.Streamed {
		t.Fatalf("%v, %+v", state, got)
	}
	for what, change := range map[string]func([]byte) []byte{
		"changed":  func(v []byte) []byte { v[len(v)/2] ^= 1; return v },
		"cut":      func(v []byte) []byte { return v[:len(v)-1] },
		"empty":    func([]byte) []byte { return []byte{0} },
		"made up":  func([]byte) []byte { return []byte(strings.Repeat("x", 500)) },
		"enormous": func([]byte) []byte { return make([]byte, 64<<20) },
	} {
		s.kept[name] = change([]byte(string(value)))
		if _, state := cache(t, clk, s, nil).Find(t.Context(), a); state != respcache.Miss {
			t.Errorf("%s: %s", what, state)
		}
	}
	// Another question's answer, which is a true one, in the place of this one's.
	b := ask(t, c, "l", "", "", "")
	delete(s.kept, name)
	c.Keep(b, entry("other"))
	_, theirs := s.only(t)
	s.kept[name] = theirs
	if _, state := cache(t, clk, s, nil).Find(t.Context(), a); state != respcache.Miss {
		t.Errorf("an answer in another's place: %s", state)
	}
}

func TestASlowStoreIsPassedBy(t *testing.T) {
	s := newStore()
	s.wait = time.Hour
	c := cache(t, clock.Real(), s, func(cfg *respcache.Config) { cfg.Shared.Timeout = 5 * time.Millisecond })
	for range 5 {
		if _, state := c.Find(t.Context(), ask(t, c, "k", "", "", "")); state != respcache.Miss {
			t.Fatal(state)
		}
	}
	s.wait = 0 // it is asked no more for a while
	if _, state := c.Find(t.Context(), ask(t, c, "k", "", "", "")); state != respcache.Miss || s.gets != 0 {
		t.Errorf("%v after %d reads", state, s.gets)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	c := cache(t, clock.Real(), nil, func(cfg *respcache.Config) { cfg.MemoryBytes, cfg.MaxEntryBytes = 1<<20, 64<<10 })
	for i := range 400 {
		a := ask(t, c, "k", "", "", "")
		a.Key[1], a.Key[2] = byte(i), byte(i>>8)
		c.Keep(a, entry(strings.Repeat("x", 10<<10)))
	}
	if n, bytes := c.InMemory(); bytes > 1<<20 || n == 0 {
		t.Errorf("%d entries, %d bytes", n, bytes)
	}
	if c.Keep(ask(t, c, "k", "", "", ""), entry(strings.Repeat("x", 65<<10))) {
		t.Error("one that is too large was kept")
	}
}

func TestPurges(t *testing.T) {
	clk := clock.NewFake(time.Unix(1_900_000_000, 0))
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "edge.db")
	testPurges(t, clk, purges(t, clk, dsn), purges(t, clk, dsn))
}

// testPurges holds what every store must do: here and other are two edges'.
func testPurges(t *testing.T, clk *clock.Fake, here, other *respcache.Purges) {
	t.Helper()
	type scope struct{ tenant, model, collection string }
	all := []scope{
		{"acme", "small", ""}, {"acme", "large", ""}, {"acme", "small", "docs"}, {"acme", "large", "docs"}, {"other", "small", ""}, {"other", "small", "docs"},
	}
	states := func() map[scope]string {
		out := make(map[scope]string)
		for _, s := range all {
			a, known := here.Of(s.tenant, s.model, s.collection)
			if b, ok := other.Of(s.tenant, s.model, s.collection); !known || !ok || a != b {
				t.Fatalf("%+v: %q and %q", s, a, b)
			}
			out[s] = a
		}
		return out
	}
	before := states()
	for _, c := range []struct {
		purge respcache.Purge
		of    []scope
	}{
		{respcache.Purge{Tenant: "acme", Model: "small"}, []scope{all[0], all[2]}},
		{respcache.Purge{Tenant: "acme", Collection: "docs"}, []scope{all[2], all[3]}},
		{respcache.Purge{Tenant: "acme", Model: "large", Collection: "docs"}, []scope{all[3]}},
		{respcache.Purge{Tenant: "acme"}, all[:4]},
		{respcache.Purge{Tenant: "acme", Model: "small"}, []scope{all[0], all[2]}}, // once more
		{respcache.Purge{Tenant: respcache.AllTenants, Collection: "docs"}, []scope{all[2], all[3], all[5]}},
		{respcache.Purge{Tenant: respcache.AllTenants}, all},
		{respcache.Purge{Tenant: "nobody"}, nil},
	} {
		if _, err := here.Add(t.Context(), c.purge); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(other.Refresh(t.Context()), here.Refresh(t.Context())); err != nil {
			t.Fatal(err)
		}
		after := states()
		for _, s := range all {
			purged := false
			for _, p := range c.of {
				purged = purged || p == s
			}
			if (after[s] != before[s]) != purged {
				t.Errorf("%+v: %+v went from %q to %q", c.purge, s, before[s], after[s])
			}
		}
		before = after
	}
	// Too many names of one tenant make it all of the tenant's.
	for i := range 260 {
		if _, err := here.Add(t.Context(), respcache.Purge{Tenant: "acme", Model: strings.Repeat("m", i+1)}); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := here.Of("acme", "small", ""); after == before[all[0]] {
		t.Error("the purges of one tenant have no bound")
	}
	clk.Advance(2 * time.Second)
	if _, known := here.Of("acme", "small", ""); known {
		t.Error("purges of long ago are taken for those of now")
	}
}

func TestSimilar(t *testing.T) {
	c := cache(t, clock.Real(), nil, nil)
	var scope, other, k1, k2 respcache.Key
	scope[0], other[0], k1[0], k2[0] = 1, 2, 11, 12
	c.Remember(scope, []float32{1, 0, 0}, k1)
	c.Remember(scope, []float32{0, 5, 0}, k2)
	if k, s, ok := c.Nearest(scope, []float32{0.1, 9, 0}, 0.9); !ok || k != k2 || s < 0.99 {
		t.Errorf("%v %v %v", k[0], s, ok)
	}
	if _, _, ok := c.Nearest(scope, []float32{1, 1, 0}, 0.9); ok {
		t.Error("a question is taken for one that it is not")
	}
	for what, v := range map[string][]float32{"zero": {0, 0, 0}, "shorter": {1, 0}, "empty": nil} {
		if _, _, ok := c.Nearest(scope, v, 0.1); ok {
			t.Errorf("%s is similar", what)
		}
	}
	if _, _, ok := c.Nearest(other, []float32{1, 0, 0}, 0.1); ok {
		t.Error("another scope's question was found")
	}
	for i := range 1000 { // of one scope
		k := k1
		k[1], k[2] = byte(i), byte(i>>8)
		c.Remember(scope, []float32{float32(i), 1, 0}, k)
	}
	if _, _, ok := c.Nearest(scope, []float32{0, 1, 0}, 0.9999999); ok {
		t.Error("the oldest question was not forgotten")
	}
}
