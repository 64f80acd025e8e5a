package store_test

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

func (s suite) versions(t *testing.T) {
	e := newEnv(t, s.databases, store.Options{})
	ctx := t.Context()
	e.model("m")
	e.model("other")
	first := e.version("m", 1)
	want := storetest.Version(t, "m", 1)
	if first.GetNumber() != 1 || first.GetDigest() != want.GetDigest() || first.GetDescription() != "seed 1" ||
		!proto.Equal(first.GetSpec(), want.GetSpec()) || !first.GetCreateTime().AsTime().Equal(start) {
		t.Errorf("made %v from %v", first, want)
	}
	second := e.version("m", 2)
	if second.GetNumber() != 2 {
		t.Errorf("the second version has number %d", second.GetNumber())
	}

	before := e.revision()
	again := storetest.Version(t, "m", 1)
	again.Description = "another description"
	again.Spec.Artifacts[0].Uri = "file:///elsewhere"
	same, err := e.CreateVersion(ctx, "", again)
	check(t, err)
	if !proto.Equal(same, first) {
		t.Errorf("the same content gave %v, want %v", same, first)
	}
	if now := e.revision(); now != before {
		t.Errorf("the same content changed the revision from %d to %d", before, now)
	}
	if v := e.version("other", 1); v.GetNumber() != 1 || v.GetDigest() != first.GetDigest() {
		t.Errorf("under another model: %v", v)
	}

	byNumber, err := e.GetVersion(ctx, "m", store.VersionKey{Number: 2})
	check(t, err)
	byDigest, err := e.GetVersion(ctx, "m", store.VersionKey{Digest: second.GetDigest()})
	check(t, err)
	if !proto.Equal(byNumber, second) || !proto.Equal(byDigest, second) {
		t.Errorf("got %v and %v, want %v", byNumber, byDigest, second)
	}

	_, err = e.GetVersion(ctx, "m", store.VersionKey{Number: 3})
	wantReason(t, err, apierr.NotFound, "version")
	_, err = e.GetVersion(ctx, "other", store.VersionKey{Digest: second.GetDigest()})
	wantReason(t, err, apierr.NotFound, "version")
	_, err = e.CreateVersion(ctx, "", storetest.Version(t, "absent", 1))
	wantReason(t, err, apierr.ModelNotFound, "model")
	_, err = e.ListVersions(ctx, "absent", 0, 10)
	wantReason(t, err, apierr.ModelNotFound, "model")

	for seed := 3; seed <= 7; seed++ {
		e.version("m", seed)
	}
	var numbers []int32
	for before := int32(0); ; {
		page, err := e.ListVersions(ctx, "m", before, 3)
		check(t, err)
		if len(page) == 0 {
			break
		}
		for _, v := range page {
			numbers = append(numbers, v.GetNumber())
		}
		before = numbers[len(numbers)-1]
		if before == 1 {
			break
		}
	}
	if want := []int32{7, 6, 5, 4, 3, 2, 1}; !slices.Equal(numbers, want) {
		t.Errorf("listed %v, want %v", numbers, want)
	}
}

// Writers on two replicas create 60 different versions, each three times: the
// numbers are 1 to 60, and every digest has one.
func (s suite) concurrentVersions(t *testing.T) {
	const writers, contents = 6, 60
	e := newEnv(t, s.databases, store.Options{})
	replicas := []*store.Store{e.Store, e.open()}
	e.model("m")
	together(writers, func(w int) {
		for i := range contents / 2 {
			seed := (w*contents/writers + i) % contents
			_, err := replicas[w%2].CreateVersion(t.Context(), "", storetest.Version(t, "m", seed))
			if err != nil {
				t.Errorf("writer %d, content %d: %v", w, seed, err)
			}
		}
	})
	list, err := e.ListVersions(t.Context(), "m", 0, 1000)
	check(t, err)
	digests := make(map[string]bool)
	for i, v := range list {
		if want := int32(contents - i); v.GetNumber() != want {
			t.Fatalf("place %d of the list has number %d, want %d", i, v.GetNumber(), want)
		}
		digests[v.GetDigest()] = true
	}
	if len(list) != contents || len(digests) != contents {
		t.Errorf("%d versions with %d digests, want %d", len(list), len(digests), contents)
	}
	if got := e.revision(); got != contents+1 {
		t.Errorf("revision %d after %d changes", got, contents+1)
	}
}
