package search_test

import (
	"fmt"
	"testing"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

func TestCallsWithoutACallerAreRefused(t *testing.T) {
	h := newHarness(t)
	_, err := h.client.CreateCollection(t.Context(), &searchv1.CreateCollectionRequest{Id: "c"})
	h.wantReason(err, apierr.Unauthenticated, "")
	_, err = h.client.Search(t.Context(), &searchv1.SearchRequest{Collection: "c", Query: "x"})
	h.wantReason(err, apierr.Unauthenticated, "")
}

func TestChainIsInOrder(t *testing.T) {
	h := newHarness(t)
	want := "[recover request id telemetry errors identity validate outages]"
	if got := fmt.Sprint(h.service.Interceptors().Names()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// What cannot be embedded is not begun.
func TestCollectionsNeedAnEmbeddingModel(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	create := func(id, model string) error {
		_, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: id, EmbeddingModel: model})
		return err
	}
	h.wantReason(create("a", "nothing"), apierr.InvalidArgument, "embedding_model")
	h.wantReason(create("a", "chatty@v2"), apierr.InvalidArgument, "embedding_model")
	h.inference.set(func(f *fakeInference) { f.away = true })
	h.wantReason(create("a", ""), apierr.Unavailable, "")
	h.inference.set(func(f *fakeInference) { f.away = false })
	if err := create("a", ""); err != nil {
		t.Fatal(err)
	}
	// One that lost its model says so, although it is empty.
	h.inference.set(func(f *fakeInference) { f.away = true })
	if resp := h.search(ctx, &searchv1.SearchRequest{Collection: "a", Query: "x"}); len(resp.GetWarnings()) != 1 {
		t.Errorf("warnings %q", resp.GetWarnings())
	}
}

// A principal that nobody can have is a mistake, and would hide the document.
func TestPrincipalsSayWhatTheyName(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	if _, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "c"}); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"finance", "group:", "team:a", ":a", "Group:a", "public:"} {
		if got := h.batch(ctx, "c", withACL(doc("d", "x"), "user:ada", wrong)); got != "failed(INVALID_ARGUMENT documents[0].acl.principals[1])" {
			t.Errorf("%s: %s", wrong, got)
		}
	}
	if got := h.batch(ctx, "c", withACL(doc("d", "x"), "user:a", "group:b:c", "role:reader", "tenant:acme", "public")); got != "created" {
		t.Error(got)
	}
}

func TestCollections(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	resp, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "books", DisplayName: "Books"})
	if err != nil {
		t.Fatal(err)
	}
	c := resp.GetCollection()
	if c.GetId() != "books" || c.GetDisplayName() != "Books" || c.GetEmbeddingModel() == "" || c.GetGeneration() < 1 || c.GetCreateTime() == nil {
		t.Errorf("created %v", c)
	}
	_, err = h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "books"})
	h.wantReason(err, apierr.AlreadyExists, "id")
	_, err = h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "Big Books"})
	h.wantReason(err, apierr.InvalidArgument, "id")
	_, err = h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "x", EmbeddingModel: "/a/file"})
	h.wantReason(err, apierr.InvalidArgument, "embedding_model")
	_, err = h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "nowhere"})
	h.wantReason(err, apierr.NotFound, "")

	h.put(ctx, "books", doc("a", "one"), doc("b", "two"))
	got, err := h.client.GetCollection(ctx, &searchv1.GetCollectionRequest{Collection: "books"})
	if err != nil || got.GetCollection().GetDocumentCount() != 2 || got.GetCollection().GetChunkCount() != 2 ||
		got.GetCollection().GetEmbeddingDigest() == "" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := h.client.DeleteCollection(ctx, &searchv1.DeleteCollectionRequest{Collection: "books"}); err != nil {
		t.Fatal(err)
	}
	_, err = h.client.Search(ctx, &searchv1.SearchRequest{Collection: "books", Query: "one"})
	h.wantReason(err, apierr.NotFound, "")
	h.create(ctx, "books")
	if resp := h.search(ctx, &searchv1.SearchRequest{Collection: "books", Query: "one"}); len(resp.GetHits()) != 0 {
		t.Errorf("the new collection finds %s", chunkIDs(resp))
	}
}

func TestListCollectionsByPages(t *testing.T) {
	h := newHarness(t, func(c *search.Config) { c.Limits.Collections = 7 })
	ctx := h.as("ada")
	for i := range 7 {
		h.create(ctx, fmt.Sprintf("c%d", i))
	}
	h.create(h.of("other", "eve"), "theirs")
	_, err := h.client.CreateCollection(ctx, &searchv1.CreateCollectionRequest{Id: "c8"})
	h.wantReason(err, apierr.FailedPrecondition, "")
	var got, token string
	for pages := 0; ; pages++ {
		resp, err := h.client.ListCollections(ctx, &searchv1.ListCollectionsRequest{PageSize: 3, PageToken: token})
		if err != nil || pages > 3 {
			t.Fatalf("page %d: %v", pages, err)
		}
		for _, c := range resp.GetCollections() {
			got += c.GetId()
		}
		if token = resp.GetNextPageToken(); token == "" {
			break
		}
	}
	if got != "c0c1c2c3c4c5c6" {
		t.Errorf("listed %s", got)
	}
	for _, bad := range []string{"x", "e30", "bm90IGpzb24", "eyJsIjoiZG9jdW1lbnRzIiwiYSI6IngifQ"} {
		_, err := h.client.ListCollections(ctx, &searchv1.ListCollectionsRequest{PageToken: bad})
		h.wantReason(err, apierr.InvalidArgument, "page_token")
	}
}

func TestTenantsAreApart(t *testing.T) {
	h := newHarness(t)
	acme, other := h.as("ada"), h.of("other", "ada", "tenant:acme", "user:ada")
	h.create(acme, "books")
	h.put(acme, "books", doc("a", "secret"), withACL(doc("b", "secret"), "public", "tenant:other"))
	_, err := h.client.Search(other, &searchv1.SearchRequest{Collection: "books", Query: "secret"})
	h.wantReason(err, apierr.NotFound, "")
	h.create(other, "books")
	h.put(other, "books", doc("z", "secret"))
	if got := chunkIDs(h.search(other, &searchv1.SearchRequest{Collection: "books", Query: "secret"})); got != "z#0" {
		t.Errorf("the other tenant finds %q", got)
	}
	_, err = h.client.GetDocument(other, &searchv1.GetDocumentRequest{Collection: "books", Document: "a"})
	h.wantReason(err, apierr.NotFound, "")
	if _, err := h.client.DeleteCollection(other, &searchv1.DeleteCollectionRequest{Collection: "books"}); err != nil {
		t.Fatal(err)
	}
	if got := chunkIDs(h.search(acme, &searchv1.SearchRequest{Collection: "books", Query: "secret"})); got != "a#0 b#0" {
		t.Errorf("after the other tenant deleted theirs: %q", got)
	}
}
