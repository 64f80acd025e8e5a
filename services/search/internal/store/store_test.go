package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/sqldb"
)

func TestOnSQLite(t *testing.T) {
	runSuite(t, func(t *testing.T) string {
		t.Helper()
		return "sqlite://" + filepath.Join(t.TempDir(), "truth.db")
	})
}

// fixture is an empty store and the test it is for.
type fixture struct {
	t *testing.T
	s *Store
}

// runSuite runs every test of the store, each on an empty database.
func runSuite(t *testing.T, dsn func(t *testing.T) string) {
	t.Helper()
	for name, test := range map[string]func(fixture){
		"versions":     versionsReplaceEachOther,
		"readers":      readersSeeTheirDocuments,
		"rights":       rightsHoldInTheTransaction,
		"counts":       countsAreTheReaders,
		"whole":        deletionNeedsEveryDocument,
		"changes":      changesLeadToTheTruth,
		"forgetting":   oldRemovalsAreForgotten,
		"models":       modelIsHeld,
		"room":         roomIsSharedByWriters,
		"deletion":     deletionTakesEverything,
		"turns":        writersTakeTurns,
		"passages":     passagesOfVersions,
		"readable":     readableVersions,
		"vectors":      vectorsOfChunks,
		"many ids":     manyIDs,
		"order of ids": idsAreInByteOrder,
		"fusion":       fusionIsTheCollections,
		"migration":    fusionMigrates,
		"backups":      everythingIsBackedUp,
		"statements":   statementsAreFew,
		"expiry":       whatHasEndedIsGone,
		"sweepers":     sweepersTakeTurns,
		"followers":    followersAreAwaited,
		"followers 8":  followersMigrate,
		"chunking":     chunkingIsKept,

		"generations migrate": generationsMigrate,
		"headings migrate":    headingsMigrate,
		"generations":         generationsFollowTheModel,
		"leases":              leasesFence,
		"progress":            progressIsOfWhatIsBuilt,
	} {
		t.Run(name, func(t *testing.T) { test(fixture{t, open(t, dsn(t))}) })
	}
}

func open(tb testing.TB, dsn string) *Store {
	tb.Helper()
	db, err := sqldb.Open(tb.Context(), sqldb.DefaultConfig(dsn))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	s, err := New(tb.Context(), db, clock.NewFake(time.Unix(1000, 0)), slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func newCollection(tb testing.TB, s *Store, id string) Collection {
	tb.Helper()
	c, err := s.CreateCollection(tb.Context(), Collection{Tenant: "acme", ID: id, UID: "uid-" + id, EmbeddingModel: "m", Analyser: 1}, 10)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func version(id, text string, principals ...string) Version {
	v := Version{
		Document:   Document{ID: id, Title: "T", Text: text, Metadata: []byte(`{"a":1}`), ContentHash: "h" + text, TextHash: "t" + text},
		Principals: principals,
		Chunks:     []Chunk{{Number: 0, Start: 0, End: len(text), Terms: 2, Text: text, Vector: []float32{1, -2.5}}},
	}
	if len(principals) > 0 {
		v.HasACL, v.ACL = true, principals
	} else {
		v.Principals = []string{"tenant:acme"}
	}
	return v
}

func upsert(tb testing.TB, s *Store, c Collection, vs ...Version) int64 {
	tb.Helper()
	_, g, err := s.Upsert(tb.Context(), c, Write{By: Rights{All: true}, Digest: "d1", Dimensions: 2, Documents: vs})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func everybody() []string { return []string{"tenant:acme"} }

func versionsReplaceEachOther(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	out, g1, err := s.Upsert(t.Context(), c, Write{By: Rights{All: true}, Digest: "d1", Dimensions: 2, Documents: []Version{version("a", "one"), version("b", "two")}})
	if err != nil || !out[0].Created || !out[1].Created || g1 != c.Generation+2 {
		t.Fatalf("%v, %d, %v", out, g1, err)
	}
	out, g2, err := s.Upsert(t.Context(), c, Write{By: Rights{All: true}, Documents: []Version{version("a", "three")}})
	if err != nil || out[0].Created || g2 != g1+1 {
		t.Fatalf("%v, %d, %v", out, g2, err)
	}
	d, err := s.Document(t.Context(), c, everybody(), "a")
	if err != nil || d.Text != "three" || d.No != g2 || string(d.Metadata) != `{"a":1}` || d.ChunkCount != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	c, err = s.Collection(t.Context(), "acme", "c")
	if err != nil || c.DocumentCount != 2 || c.ChunkCount != 2 || c.Generation != g2 || c.EmbeddingDigest != "d1" || c.Dimensions != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}

func readersSeeTheirDocuments(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	nobody := version("nobody", "x")
	nobody.HasACL, nobody.ACL, nobody.Principals = true, nil, nil
	upsert(t, s, c, version("all", "x"), version("mine", "x", "user:me", "group:g"), version("theirs", "x", "user:them"), nobody)
	list := func(principals ...string) (ids []string) {
		ds, err := s.Documents(t.Context(), c, principals, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			ids = append(ids, d.ID)
		}
		return ids
	}
	for _, tc := range []struct{ who, want []string }{
		{[]string{"user:me", "tenant:acme"}, []string{"all", "mine"}},
		{[]string{"group:g", "user:me"}, []string{"mine"}},
		{[]string{"user:m"}, nil},
		{nil, nil},
	} {
		if got := list(tc.who...); !slices.Equal(got, tc.want) {
			t.Errorf("%v list %v, want %v", tc.who, got, tc.want)
		}
	}
	for id, who := range map[string]string{"theirs": "user:me", "nobody": "tenant:acme", "missing": "user:me"} {
		if _, err := s.Document(t.Context(), c, []string{who}, id); apierr.ReasonOf(err) != apierr.NotFound {
			t.Errorf("%s: %v", id, err)
		}
		if _, err := s.DeleteDocument(t.Context(), c, Rights{Principals: []string{who}}, id); apierr.ReasonOf(err) != apierr.NotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
	before, err := s.Generation(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteDocument(t.Context(), c, Rights{Principals: []string{"user:me"}}, "theirs"); err == nil {
		t.Error("deleted")
	}
	if after, err := s.Generation(t.Context(), c); err != nil || after != before {
		t.Errorf("a refused deletion took generation %d to %d, %v", before, after, err)
	}
	d, err := s.Document(t.Context(), c, []string{"user:me"}, "mine")
	if err != nil || !d.HasACL || !slices.Equal(d.ACL, []string{"user:me", "group:g"}) {
		t.Errorf("%+v, %v", d, err)
	}
}

// replay follows the changes from a generation on and returns what an index
// would hold.
func replay(t *testing.T, s *Store, c Collection, since int64, held map[int64]string) int64 {
	t.Helper()
	for {
		ch, err := s.Changes(t.Context(), c, since, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range ch.Versions {
			held[v.No] = v.ID + "=" + v.Chunks[0].Text
		}
		for _, no := range ch.Removed {
			delete(held, no)
		}
		since = ch.Through
		if ch.Complete {
			return since
		}
	}
}

func snapshot(t *testing.T, s *Store, c Collection) (map[int64]string, int64) {
	t.Helper()
	held := make(map[int64]string)
	var at int64
	err := s.SnapshotExcept(t.Context(), c, nil, func(g int64, vs iter.Seq2[Version, error]) error {
		at = g
		for v, err := range vs {
			if err != nil {
				return err
			}
			held[v.No] = v.ID + "=" + v.Chunks[0].Text
			if len(v.Chunks) != v.ChunkCount || len(v.Chunks[0].Vector) != 2 || v.Chunks[0].Vector[1] != -2.5 {
				return fmt.Errorf("version %+v", v)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return held, at
}

func changesLeadToTheTruth(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	follower := make(map[int64]string)
	at := replay(t, s, c, c.Generation, follower)
	for round := range 5 {
		upsert(t, s, c, version("a", fmt.Sprint("a", round)), version("b", "b"), version(fmt.Sprint("r", round), "r"))
		if round%2 == 1 {
			at = replay(t, s, c, at, follower)
			if _, err := s.DeleteDocument(t.Context(), c, Rights{Principals: everybody()}, fmt.Sprint("r", round)); err != nil {
				t.Fatal(err)
			}
		}
	}
	at = replay(t, s, c, at, follower)
	truth, g := snapshot(t, s, c)
	if fmt.Sprint(truth) != fmt.Sprint(follower) || g != at {
		t.Errorf("the follower has %v at %d, the truth %v at %d", follower, at, truth, g)
	}
}

func modelIsHeld(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("a", "one"))
	for _, w := range []Write{{Digest: "d2", Dimensions: 2}, {Digest: "d1", Dimensions: 3}} {
		w.Documents = []Version{version("b", "two")}
		if _, _, err := s.Upsert(t.Context(), c, w); !errors.Is(err, ErrModelChanged) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	if _, err := s.Document(t.Context(), c, everybody(), "b"); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("b is there: %v", err)
	}
}

func deletionTakesEverything(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	upsert(t, s, c, version("a", "one"), version("b", "two"))
	upsert(t, s, c, version("a", "three"))
	if got, err := s.DeleteCollection(t.Context(), "acme", "c", Rights{All: true}); err != nil || got.UID != c.UID {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, table := range []string{"collections", "documents", "chunks", "principals", "removals"} {
		var n int
		if err := s.db.QueryRowContext(t.Context(), `SELECT count(*) FROM search_`+table).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d %s are left, %v", n, table, err)
		}
	}
	if _, _, err := s.Upsert(t.Context(), c, Write{By: Rights{All: true}, Documents: []Version{version("a", "x")}}); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("a write after the deletion: %v", err)
	}
	if _, err := s.DeleteCollection(t.Context(), "acme", "c", Rights{All: true}); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("a second deletion: %v", err)
	}
}

func writersTakeTurns(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	ctx, stop := context.WithCancel(t.Context())
	var wg, following sync.WaitGroup
	follower := make(map[int64]string)
	at := c.Generation
	following.Go(func() {
		for ctx.Err() == nil {
			at = replay(t, s, c, at, follower)
		}
	})
	for w := range 4 {
		wg.Go(func() {
			for r := range 10 {
				if _, _, err := s.Upsert(t.Context(), c, Write{By: Rights{All: true}, Digest: "d1", Dimensions: 2, Documents: []Version{
					version("shared", fmt.Sprint(w, r)), version(fmt.Sprint("own", w), fmt.Sprint(r)),
				}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	stop()
	following.Wait()
	at = replay(t, s, c, at, follower)
	truth, g := snapshot(t, s, c)
	if fmt.Sprint(truth) != fmt.Sprint(follower) || g != at || len(truth) != 5 {
		t.Errorf("the follower has %v at %d, the truth %v at %d", follower, at, truth, g)
	}
	if c, err := s.Collection(t.Context(), "acme", "c"); err != nil || c.DocumentCount != 5 || c.ChunkCount != 5 {
		t.Errorf("%+v, %v", c, err)
	}
}

func passagesOfVersions(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	v := version("a", "one")
	v.Chunks = append(v.Chunks, Chunk{Number: 1, Start: 2, End: 3, Terms: 1, Text: "e", Vector: []float32{0, 1}})
	g := upsert(t, s, c, v)
	got, err := s.Passages(t.Context(), c, []Ref{{g, 1}, {g, 1}, {g, 7}, {g - 1, 0}})
	p := got[Ref{g, 1}]
	if err != nil || len(got) != 1 || p.DocumentID != "a" || p.Title != "T" || p.Chunk.Text != "e" || p.Chunk.Start != 2 || p.Chunk.End != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	if chunks, err := s.Chunks(t.Context(), c, g); err != nil || len(chunks) != 2 || !slices.Equal(chunks[1].Vector, []float32{0, 1}) {
		t.Errorf("%+v, %v", chunks, err)
	}
}

func manyIDs(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	g := upsert(t, s, c, version("id999", "x"))
	ids, refs := make([]string, 1000), make([]Ref, 1000)
	for i := range ids {
		ids[i], refs[i] = fmt.Sprint("id", i), Ref{g, i}
	}
	if got, err := s.Existing(t.Context(), c, Rights{Principals: everybody()}, ids); err != nil || len(got) != 1 || got["id999"].No != g || got["id999"].Hidden {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := s.Passages(t.Context(), c, refs); err != nil || len(got) != 1 {
		t.Errorf("%v, %v", got, err)
	}
}
