package store

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
)

// pass lets time pass for the store.
func pass(t *testing.T, s *Store, d time.Duration) {
	t.Helper()
	fake, ok := s.clock.(*clock.Fake)
	if !ok {
		t.Fatal("the clock is not a fake one")
	}
	fake.Advance(d)
}

func ending(s *Store, v Version, in time.Duration) Version {
	v.ExpireTime = s.clock.Now().Add(in)
	return v
}

func whatHasEndedIsGone(f fixture) {
	t, s, ctx := f.t, f.s, f.t.Context()
	c := newCollection(t, s, "c")
	g := upsert(t, s, c, version("stays", "x"), ending(s, version("ends", "y"), time.Minute), ending(s, version("eves", "z", "user:eve"), time.Minute))
	c, err := s.Collection(ctx, "acme", "c")
	check(t, err)
	if !c.Expires || c.DocumentCount != 3 {
		t.Errorf("%+v", c)
	}
	ch, err := s.Changes(ctx, c, 1, 10)
	check(t, err)
	ends := ch.Versions[1]
	if ends.ID != "ends" || !ends.ExpireTime.Equal(s.clock.Now().Add(time.Minute)) || !ch.Versions[0].ExpireTime.IsZero() {
		t.Errorf("%+v", ch.Versions)
	}
	pass(t, s, time.Minute) // the moment itself is past it
	if _, err := s.Document(ctx, c, everybody(), "ends"); apierr.ReasonOf(err) != apierr.NotFound {
		t.Error(err)
	}
	if _, err := s.DeleteDocument(ctx, c, Rights{All: true}, "ends"); apierr.ReasonOf(err) != apierr.NotFound {
		t.Error(err)
	}
	p, err := s.Passages(ctx, c, []Ref{{No: ends.No}, {No: ch.Versions[0].No}})
	if err != nil || len(p) != 1 {
		t.Errorf("%v, %v", p, err)
	}
	existing, err := s.Existing(ctx, c, Rights{All: true}, []string{"ends", "stays"})
	if err != nil || len(existing) != 1 {
		t.Errorf("%v, %v", existing, err)
	}
	out, _, err := s.Upsert(ctx, c, Write{By: Rights{Principals: everybody()}, Documents: []Version{version("eves", "new")}})
	if err != nil || !out[0].Created || out[0].Hidden {
		t.Errorf("%+v, %v", out, err)
	}
	now, err := s.Collection(ctx, "acme", "c")
	if err != nil || now.DocumentCount != 2 || now.ChunkCount != 2 {
		t.Errorf("%+v, %v", now, err)
	}
	found, err := s.Expired(ctx, 10)
	if err != nil || len(found) != 1 || found[0].UID != c.UID {
		t.Fatalf("%v, %v", found, err)
	}
	n, err := s.RemoveExpired(ctx, c, 10)
	if err != nil || n != 1 {
		t.Fatalf("%d, %v", n, err)
	}
	ch, err = s.Changes(ctx, c, g, 10)
	if err != nil || !slices.Contains(ch.Removed, ends.No) {
		t.Errorf("%+v, %v", ch, err)
	}
	generation, err := s.Generation(ctx, c)
	check(t, err)
	if n, err := s.RemoveExpired(ctx, c, 10); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	if after, err := s.Generation(ctx, c); err != nil || after != generation {
		t.Errorf("nothing was removed, and generation %d became %d (%v)", generation, after, err)
	}
	if found, err := s.Expired(ctx, 10); err != nil || len(found) != 0 {
		t.Errorf("%v, %v", found, err)
	}
}

// Several processes sweep side by side: each document is removed once.
func sweepersTakeTurns(f fixture) {
	t, s := f.t, f.s
	c := newCollection(t, s, "c")
	var docs []Version
	for i := range 60 {
		docs = append(docs, ending(s, version(string(rune('A'+i)), "x"), time.Minute))
	}
	upsert(t, s, c, append(docs, version("stays", "x"))...)
	pass(t, s, time.Hour)
	var mu sync.Mutex
	var wg sync.WaitGroup
	total := 0
	var errs []error
	for range 4 {
		wg.Go(func() {
			for {
				n, err := s.RemoveExpired(t.Context(), c, 7)
				mu.Lock()
				total += n
				errs = append(errs, err)
				mu.Unlock()
				if n == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	got, err := s.Collection(t.Context(), "acme", "c")
	if err := errors.Join(append(errs, err)...); err != nil || total != 60 || got.DocumentCount != 1 || got.ChunkCount != 1 {
		t.Errorf("%d removed, %+v, %v", total, got, err)
	}
}

func chunkingIsKept(f fixture) {
	t, s := f.t, f.s
	zero := 0
	want := Chunking{By: "structure", MaxWords: 90, MaxTokens: 300, Overlap: &zero}
	_, err := s.CreateCollection(t.Context(), Collection{Tenant: "acme", ID: "c", UID: "u", EmbeddingModel: "m", Chunking: want}, 10)
	check(t, err)
	got, err := s.Collection(t.Context(), "acme", "c")
	if err != nil || got.Chunking.By != want.By || got.Chunking.MaxTokens != 300 || got.Chunking.Overlap == nil || *got.Chunking.Overlap != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if plain := newCollection(t, s, "plain"); plain.Chunking != (Chunking{}) || plain.Expires {
		t.Errorf("%+v", plain)
	}
}
