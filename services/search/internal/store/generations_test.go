package store

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
)

// A database from before embedding generations keeps everything as number 1,
// which serves; going back keeps what serves then.
func generationsMigrate(f fixture) {
	t, s := f.t, f.s
	ctx := t.Context()
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("a", "one"), version("b", "two"))
	want, err := s.Collection(ctx, "acme", "c")
	check(t, err)
	versions := everything(t, s, want)
	dialect := goose.DialectSQLite3
	if s.db.Dialect == sqldb.Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, s.db.DB, os.DirFS("migrations/"+string(s.db.Dialect)),
		goose.WithDisableGlobalRegistry(true), goose.WithTableName("search_migrations"))
	check(t, err)
	_, err = provider.DownTo(ctx, 3)
	check(t, err)
	if _, err := s.db.ExecContext(ctx, `SELECT embedding_generation FROM search_chunks`); err == nil {
		t.Error("the column is there after going back")
	}
	_, err = provider.Up(ctx)
	check(t, err)
	if got, err := s.Collection(ctx, "acme", "c"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	if got := everything(t, s, want); !reflect.DeepEqual(got, versions) {
		t.Errorf("got  %+v\nwant %+v", got, versions)
	}
	g, err := s.EmbeddingGeneration(ctx, c, 1)
	if err != nil || g.State != Serving || g.EmbeddingDigest != "d1" || g.Dimensions != 2 || g.Done != 2 || g.Analyser != 1 {
		t.Errorf("%+v, %v", g, err)
	}
	// Another one serves: that is what is left when it goes back.
	made := buildAll(t, s, c, "d2")
	check(t, s.Serve(ctx, c, made))
	now, err := s.Collection(ctx, "acme", "c")
	check(t, err)
	versions = everything(t, s, now)
	_, err = provider.DownTo(ctx, 3)
	check(t, err)
	_, err = provider.Up(ctx)
	check(t, err)
	again, err := s.Collection(ctx, "acme", "c")
	check(t, err)
	if got := everything(t, s, again); !reflect.DeepEqual(got, versions) || again.EmbeddingDigest != "d2" || again.EmbeddingGeneration != 1 {
		t.Errorf("got  %+v\nwant %+v\n%+v", got, versions, again)
	}
	if _, err := s.Changes(ctx, again, now.Generation, 10); !errors.Is(err, ErrForgotten) {
		t.Errorf("an index of the other one is followed: %v", err)
	}
}

// everything returns what an index of c is made from.
func everything(t *testing.T, s *Store, c Collection) (out []Version) {
	t.Helper()
	check(t, s.SnapshotExcept(t.Context(), c, nil, func(_ int64, versions iter.Seq2[Version, error]) error {
		for v, err := range versions {
			if err != nil {
				return err
			}
			out = append(out, v)
		}
		return nil
	}))
	return out
}

// buildAll creates an embedding generation and embeds what there is.
func buildAll(t *testing.T, s *Store, c Collection, digest string) int {
	t.Helper()
	g, err := s.CreateEmbeddingGeneration(t.Context(), c, EmbeddingGeneration{EmbeddingModel: "m", Analyser: 1})
	check(t, err)
	for {
		l, err := s.Lease(t.Context(), c.At(g.Number), "me", time.Minute)
		check(t, err)
		if embedSome(t, s, l, digest, 10, nil) {
			break
		}
	}
	l, err := s.Lease(t.Context(), c.At(g.Number), "me", time.Minute)
	check(t, err)
	if state, err := s.Complete(t.Context(), l, 0); err != nil || state != Ready {
		t.Fatalf("%s, %v", state, err)
	}
	return g.Number
}

// embedSome embeds the next documents and reports whether there are no others.
func embedSome(t *testing.T, s *Store, l Lease, digest string, limit int, fails map[string]bool) bool {
	t.Helper()
	next, err := s.Unembedded(t.Context(), l.Collection, limit, 1<<20)
	check(t, err)
	e := Embedded{Digest: digest, Through: next.Through, Failed: map[int64]string{}}
	for _, d := range next.Documents {
		switch {
		case d.Kept:
		case fails[d.ID]:
			e.Failed[d.No] = "refused"
		default:
			e.Dimensions = 2
			e.Versions = append(e.Versions, Version{Document: d.Document, Chunks: []Chunk{
				{Text: d.Text, End: len(d.Text), Terms: 2, Vector: []float32{float32(l.Collection.EmbeddingGeneration), 1}},
			}})
		}
	}
	check(t, s.Embed(t.Context(), l, e))
	return next.Last
}

// A holder that was thought dead writes nothing any more.
func leasesFence(f fixture) {
	t, s := f.t, f.s
	ctx := t.Context()
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("a", "one"))
	g, err := s.CreateEmbeddingGeneration(ctx, c, EmbeddingGeneration{EmbeddingModel: "m", Analyser: 1})
	check(t, err)
	first, err := s.Lease(ctx, c.At(g.Number), "first", time.Minute)
	check(t, err)
	if _, err := s.Lease(ctx, c.At(g.Number), "second", time.Minute); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("two have it: %v", err)
	}
	if again, err := s.Lease(ctx, c.At(g.Number), "first", time.Minute); err != nil || again != first {
		t.Errorf("it cannot be renewed: %v", err)
	}
	f.advance(2 * time.Minute)
	second, err := s.Lease(ctx, c.At(g.Number), "second", time.Minute)
	check(t, err)
	if err := s.Embed(ctx, first, Embedded{Through: 100}); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("the first still writes: %v", err)
	}
	if err := s.Waiting(ctx, first, "x"); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("the first still writes: %v", err)
	}
	check(t, s.Release(ctx, "second"))
	if err := s.Embed(ctx, second, Embedded{Through: 100}); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("what was given back still writes: %v", err)
	}
	third, err := s.Lease(ctx, c.At(g.Number), "first", time.Minute)
	check(t, err)
	embedSome(t, s, third, "d2", 10, nil)
	if err := s.Embed(ctx, third, Embedded{Digest: "d3", Dimensions: 2, Through: 2}); !errors.Is(err, ErrModelChanged) {
		t.Errorf("another version's vectors are mixed in: %v", err)
	}
	check(t, s.RemoveEmbeddingGeneration(ctx, c, g.Number))
	if err := s.Embed(ctx, third, Embedded{Through: 100}); !errors.Is(err, ErrLeaseLost) {
		t.Errorf("what is removed is written: %v", err)
	}
}

// generationsFollowTheModel does random things and compares after each.
func generationsFollowTheModel(f fixture) {
	t, s := f.t, f.s
	ctx := t.Context()
	c := newCollection(t, s, "c")
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	m := &model{
		states: map[int]State{1: Serving}, through: map[int]int64{}, last: 1, serving: 1,
		docs: map[string]string{}, nos: map[string]int64{}, failed: map[int]map[string]bool{},
	}
	for step := range 300 {
		f.advance(time.Second)
		var did string
		id := fmt.Sprint("d", rng.IntN(6))
		number := 1 + rng.IntN(m.last)
		switch rng.IntN(12) {
		case 0, 1:
			did = "write " + id
			text := fmt.Sprint("text ", step)
			now, err := s.Collection(ctx, "acme", "c")
			check(t, err)
			_, no, err := s.Upsert(ctx, now, Write{
				By: Rights{All: true}, Digest: fmt.Sprint("digest", now.EmbeddingGeneration), Dimensions: 2,
				Documents: []Version{version(id, text)},
			})
			check(t, err)
			m.wrote(id, text, no)
		case 2:
			did = "readers of " + id
			if _, ok := m.docs[id]; !ok {
				continue
			}
			now, err := s.Collection(ctx, "acme", "c")
			check(t, err)
			_, no, err := s.Upsert(ctx, now, Write{By: Rights{All: true}, Documents: []Version{version(id, m.docs[id], "user:x")}})
			check(t, err)
			m.wrote(id, m.docs[id], no)
		case 3:
			did = "delete " + id
			_, err := s.DeleteDocument(ctx, c, Rights{All: true}, id)
			if _, ok := m.docs[id]; ok != (err == nil) {
				t.Fatalf("step %d, %s: %v", step, did, err)
			}
			m.deleted(id)
		case 4:
			did = "create"
			_, err := s.CreateEmbeddingGeneration(ctx, c, EmbeddingGeneration{EmbeddingModel: "m", Analyser: 1})
			if m.create() != (err == nil) {
				t.Fatalf("step %d, %s: %v", step, did, err)
			}
		case 5, 6, 7:
			fails := map[string]bool{}
			if rng.IntN(6) == 0 {
				fails[id] = true
			}
			did = fmt.Sprintf("embed %d but %v", number, fails)
			l, err := s.Lease(ctx, c.At(number), "me", time.Minute)
			if can := slices.Contains([]State{Building, Ready, Retired}, m.states[number]); can != (err == nil) {
				t.Fatalf("step %d, %s: %v", step, did, err)
			}
			if err != nil {
				continue
			}
			if m.states[number] != Building {
				fails = nil // the builder stays before those
			}
			refused := unkept(t, s, l, fails)
			for !embedSome(t, s, l, fmt.Sprint("digest", number), 2, fails) {
			}
			through, err := s.Generation(ctx, c)
			check(t, err)
			m.embed(number, through, refused)
			state, err := s.Complete(ctx, l, 0)
			check(t, err)
			if m.states[number] == Building {
				m.states[number] = Ready
				if len(m.failed[number]) > 0 {
					m.states[number] = Failed
				}
			}
			if state != m.states[number] {
				t.Fatalf("step %d, %s: %s, want %s", step, did, state, m.states[number])
			}
		case 8:
			did = fmt.Sprint("serve ", number)
			err := s.Serve(ctx, c, number)
			next, failed := s.Generation(ctx, c)
			check(t, failed)
			if want := m.serve(number, next); want != (err == nil) {
				t.Fatalf("step %d, %s (%s): %v", step, did, m.states[number], err)
			}
		case 9:
			did = fmt.Sprint("resume ", number)
			check(t, s.Resume(ctx, c, number))
			m.resume(number)
		case 10:
			did = fmt.Sprint("remove ", number)
			err := s.RemoveEmbeddingGeneration(ctx, c, number)
			if _, known := m.states[number]; (known && number != m.serving) != (err == nil) {
				t.Fatalf("step %d, %s: %v", step, did, err)
			}
			if err == nil {
				m.states[number] = Removing
			}
		case 11:
			did = "sweep"
			for more := true; more; {
				var err error
				more, err = s.Sweep(ctx)
				check(t, err)
			}
			maps.DeleteFunc(m.states, func(_ int, s State) bool { return s == Removing })
		}
		m.compare(t, s, c, fmt.Sprintf("step %d, %s", step, did))
		if t.Failed() {
			return
		}
	}
}

func (f fixture) advance(d time.Duration) {
	f.t.Helper()
	c, ok := f.s.clock.(*clock.Fake)
	if !ok {
		f.t.Fatal("the clock is real")
	}
	c.Advance(d)
}
