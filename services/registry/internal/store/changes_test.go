package store_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

func (s suite) revisions(t *testing.T) {
	commits := int64(0)
	e := newEnv(t, s.databases, store.Options{Committed: func(c store.Commit) { commits = c.Revision }})
	ctx := t.Context()
	if r := e.revision(); r != 0 {
		t.Fatalf("an empty registry has revision %d", r)
	}
	steps := []struct {
		name    string
		changes bool
		do      func() error
	}{
		{"create model", true, func() error { _, err := e.CreateModel(ctx, "", &registryv1.Model{Name: "m"}); return err }},
		{"create it again", false, func() error { _, err := e.CreateModel(ctx, "", &registryv1.Model{Name: "m"}); return err }},
		{"create version", true, func() error { _, err := e.CreateVersion(ctx, "", storetest.Version(t, "m", 1)); return err }},
		{"create it again", false, func() error { _, err := e.CreateVersion(ctx, "", storetest.Version(t, "m", 1)); return err }},
		{"set alias", true, func() error { _, err := e.SetAlias(ctx, "", "m", "a", 1, ""); return err }},
		{"conflict", false, func() error { _, err := e.SetAlias(ctx, "", "m", "a", 1, ""); return err }},
		{"same alias", false, func() error { _, err := e.SetAlias(ctx, "", "m", "a", 1, "*"); return err }},
		{"set split", true, func() error {
			_, err := e.SetSplit(ctx, "", "m", []*registryv1.Arm{arm("a", 1, store.WholeSplit)}, "")
			return err
		}},
		{"refused deletion", false, func() error { return e.DeleteModel(ctx, "", "m") }},
		{"delete split", true, func() error { return e.DeleteSplit(ctx, "", "m", "*") }},
		{"delete alias", true, func() error { return e.DeleteAlias(ctx, "", "m", "a", "*") }},
		{"delete model", true, func() error { return e.DeleteModel(ctx, "", "m") }},
		{"delete it again", false, func() error { return e.DeleteModel(ctx, "", "m") }},
	}
	want := int64(0)
	for _, s := range steps {
		err := s.do()
		if s.changes {
			want++
			check(t, err)
		}
		if got := e.revision(); got != want {
			t.Fatalf("after %q: revision %d, want %d", s.name, got, want)
		}
		if commits != want {
			t.Fatalf("after %q: the commit announced is %d, want %d", s.name, commits, want)
		}
	}
}

func (s suite) changes(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	empty, err := e.Changes(ctx, store.Position{})
	check(t, err)
	if len(empty.Changes) != 0 || empty.To.Revision != 0 || empty.More {
		t.Errorf("an empty registry has changes: %+v", empty)
	}
	e.model("a")                                       // 1
	e.model("b")                                       // 2
	v := e.version("a", 1)                             // 3
	alias, err := e.SetAlias(ctx, "", "a", "x", 1, "") // 4
	check(t, err)
	split, err := e.SetSplit(ctx, "", "a", []*registryv1.Arm{arm("all", 1, store.WholeSplit)}, "") // 5
	check(t, err)
	check(t, e.DeleteModel(ctx, "", "b")) // 6

	all, err := e.Changes(ctx, store.Position{})
	check(t, err)
	if all.From.Revision != 0 || all.To.Revision != 6 || all.More || len(all.Changes) != 2 {
		t.Fatalf("got %+v", all)
	}
	changed, removed := all.Changes[0], all.Changes[1]
	if changed.Model != "a" || changed.Revision != 5 || removed.Model != "b" || removed.Revision != 6 || removed.State != nil {
		t.Errorf("got %+v", all.Changes)
	}
	model, err := e.GetModel(ctx, "a")
	check(t, err)
	want := &registryv1.ModelState{
		Model: model, Versions: []*registryv1.Version{v}, Aliases: []*registryv1.Alias{alias}, Split: split,
	}
	if !proto.Equal(changed.State, want) {
		t.Errorf("state\n got %v\nwant %v", changed.State, want)
	}

	later, err := e.Changes(ctx, store.Position{Revision: 5})
	check(t, err)
	if len(later.Changes) != 1 || later.Changes[0].Model != "b" || later.To.Revision != 6 {
		t.Errorf("after 5: %+v", later)
	}
	for _, from := range []int64{7, -1} {
		_, err := e.Changes(ctx, store.Position{Revision: from})
		wantReason(t, err, apierr.OutOfRange, "from_revision")
	}
}

// Much is given in parts, and following the parts leads to the same state.
func (s suite) changesInParts(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	const models = 300
	for i := range models {
		e.model(fmt.Sprintf("m%d", i))
	}
	e.version("m0", 1) // moves m0 to the end
	var got []string
	var last int64
	for from, parts := int64(0), 0; ; parts++ {
		b, err := e.Changes(t.Context(), store.Position{Revision: from})
		check(t, err)
		for _, c := range b.Changes {
			if c.Revision <= last {
				t.Fatalf("revision %d after %d", c.Revision, last)
			}
			last = c.Revision
			got = append(got, c.Model)
		}
		if b.From.Revision != from || (b.More && b.To.Revision <= from) || (len(b.Changes) > 0 && b.To.Revision != last) {
			t.Fatalf("part %d: from %d to %d, more %t", parts, b.From.Revision, b.To.Revision, b.More)
		}
		from = b.To.Revision
		if !b.More {
			if parts == 0 {
				t.Error("everything came in one part")
			}
			break
		}
	}
	if len(got) != models || got[0] != "m1" || got[models-1] != "m0" {
		t.Errorf("%d models, the first %s and the last %s", len(got), got[0], got[len(got)-1])
	}
}

func (s suite) compaction(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{KeepChanges: 5})
	for i := range 12 {
		e.model(fmt.Sprintf("m%02d", i))
	}
	for from := range int64(13) {
		b, err := e.Changes(t.Context(), store.Position{Revision: from})
		if from < 7 {
			wantReason(t, err, apierr.OutOfRange, "from_revision")
			continue
		}
		check(t, err)
		if b.To.Revision != 12 || int64(len(b.Changes)) != 12-from {
			t.Errorf("after %d: %+v", from, b)
		}
	}
}

// A database that was put back gives its revisions anew: whoever has one of those of
// before is told, also at the last one that is kept.
func (s suite) otherHistory(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{KeepChanges: 5})
	ctx := t.Context()
	for i := range 8 {
		e.model(fmt.Sprintf("before-%d", i))
	}
	at := make(map[int64]store.Position)
	for revision := int64(3); revision <= 8; revision++ {
		b, err := e.Changes(ctx, store.Position{Revision: revision})
		check(t, err)
		at[revision] = b.From
		if again, err := e.Changes(ctx, b.From); b.From.Etag == "" || err != nil || again.From != b.From {
			t.Fatalf("at %d: %+v, %+v, %v", revision, b.From, again, err)
		}
		for _, c := range b.Changes {
			if known := at[c.Revision]; known != (store.Position{}) && known != c.Position {
				t.Errorf("the change at %+v, and %+v", c.Position, known)
			}
		}
	}
	if newest, err := e.Position(ctx); err != nil || newest != at[8] {
		t.Errorf("the newest is %+v, %v, want %+v", newest, err, at[8])
	}
	for _, statement := range []string{
		`UPDATE registry_state SET revision = 5`, `DELETE FROM registry_changes WHERE revision > 5`, `DELETE FROM registry_models WHERE name > 'before-4'`,
	} {
		_, err := e.raw().ExecContext(ctx, statement)
		check(t, err)
	}
	e.clock.Advance(time.Second)
	for i := range 5 {
		e.model(fmt.Sprintf("after-%d", i))
	}
	for revision := int64(6); revision <= 8; revision++ {
		_, err := e.Changes(ctx, at[revision])
		wantReason(t, err, apierr.OutOfRange, "from_etag")
		_, err = e.Changes(ctx, store.Position{Revision: revision})
		check(t, err) // a consumer that knows no etags
	}
	b, err := e.Changes(ctx, at[5])
	check(t, err)
	if len(b.Changes) != 5 || b.To.Revision != 10 {
		t.Errorf("after what both have: %+v", b)
	}
}

// Replicas commit at once while readers follow: no reader may pass a revision
// that becomes visible later.
func (s suite) noGaps(t *testing.T) {
	const writers, each = 6, 25
	e := newEnv(t, s.databases, store.Options{})
	replicas := []*store.Store{e.Store, e.open(), e.open()}
	var readers sync.WaitGroup
	for r := range 3 {
		readers.Go(func() {
			seen := make(map[string]int64)
			for from := int64(0); from < writers*each; {
				b, err := replicas[r].Changes(t.Context(), store.Position{Revision: from})
				if err != nil {
					t.Errorf("reader %d after %d: %v", r, from, err)
					return
				}
				for _, c := range b.Changes {
					if seen[c.Model] != 0 || c.State == nil {
						t.Errorf("reader %d: %s at %d was seen at %d", r, c.Model, c.Revision, seen[c.Model])
					}
					seen[c.Model] = c.Revision
				}
				from = b.To.Revision
			}
			if len(seen) != writers*each {
				t.Errorf("reader %d saw %d of %d changes", r, len(seen), writers*each)
			}
		})
	}
	together(writers, func(w int) {
		for i := range each {
			name := fmt.Sprintf("m-%d-%d", w, i)
			if _, err := replicas[w%3].CreateModel(t.Context(), "", &registryv1.Model{Name: name}); err != nil {
				t.Errorf("writer %d: %v", w, err)
			}
		}
	})
	readers.Wait()
}

func (s suite) pages(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	page, err := e.Page(t.Context(), "")
	check(t, err)
	if !page.Last || len(page.Models) != 0 {
		t.Errorf("an empty registry has the page %+v", page)
	}
	var want []string
	for i := range 600 {
		name := fmt.Sprintf("m%03d", i)
		e.model(name)
		want = append(want, name)
	}
	e.version("m001", 1)
	split, err := e.SetSplit(t.Context(), "", "m001", []*registryv1.Arm{arm("b", 1, 1), arm("a", 1, store.WholeSplit-1)}, "")
	check(t, err)
	var got []string
	pages := 0
	for after := ""; ; after = page.After {
		page, err = e.Page(t.Context(), after)
		check(t, err)
		pages++
		for _, st := range page.Models {
			got = append(got, st.GetModel().GetName())
			if st.GetModel().GetName() == "m001" && (len(st.GetVersions()) != 1 || !proto.Equal(st.GetSplit(), split)) {
				t.Errorf("state %v", st)
			}
		}
		if page.Last {
			break
		}
	}
	if !slices.Equal(got, want) || pages < 2 {
		t.Errorf("%d models on %d pages, want %d on some", len(got), pages, len(want))
	}
}

func (s suite) reopening(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	e.model("m")
	v := e.version("m", 1)
	again := e.open()
	got, err := again.GetVersion(t.Context(), "m", store.VersionKey{Number: 1})
	check(t, err)
	if !proto.Equal(got, v) {
		t.Errorf("got %v, want %v", got, v)
	}
}
