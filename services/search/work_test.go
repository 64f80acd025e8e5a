package search_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// worked tells what models did.
func worked(works []*searchv1.ModelWork) string {
	var out []string
	for _, w := range works {
		out = append(out, fmt.Sprintf("%s %s@v%d %d/%d", w.GetKind(), w.GetModel(), w.GetVersion(), w.GetInputTokens(), w.GetDocuments()))
	}
	return strings.Join(out, ", ")
}

// An answer tells what models did for it, by their own counts, and nothing of what
// they had not to do.
func TestAnswersTellWhatModelsDid(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "notes")
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	written := h.put(ctx, "notes", doc("a", "red apples"), doc("b", "three green pears"))
	want("documents", worked(written.GetModelWork()), "embed fake@v0 5/0")
	if d := written.GetModelWork()[0].GetDigest(); d == "" {
		t.Error("the version has no digest")
	}
	want("the same again", worked(h.put(ctx, "notes", doc("a", "red apples")).GetModelWork()), "")

	find := func(req *searchv1.SearchRequest) string {
		t.Helper()
		req.Collection = "notes"
		return worked(h.search(ctx, req).GetModelWork())
	}
	want("words", find(&searchv1.SearchRequest{Query: "green apples", Mode: "lexical"}), "")
	want("a query", find(&searchv1.SearchRequest{Query: "green apples"}), "embed fake@v0 2/0")
	want("a query that is remembered", find(&searchv1.SearchRequest{Query: "green apples"}), "")
	want("reranked", find(&searchv1.SearchRequest{Query: "apples", Rerank: &searchv1.Rerank{Model: "judge"}}),
		"embed fake@v0 1/0, rerank judge@v2 7/2")
	h.inference.set(func(f *fakeInference) { f.away = true })
	want("away", find(&searchv1.SearchRequest{Query: "blue", Rerank: &searchv1.Rerank{Model: "judge"}}), "")
}

// An import tells of each part of its work once.
func TestAnImportTellsWhatModelsDid(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "notes")
	call := h.startImport(ctx, &searchv1.ImportDocumentsRequest{Collection: "notes"})
	for i := range 3 {
		if err := call.Send(lines(doc(fmt.Sprint("a", i), "red apples"), doc(fmt.Sprint("b", i), "three green pears"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := call.CloseSend(); err != nil {
		t.Fatal(err)
	}
	total := int32(0)
	for done := false; !done; {
		resp, err := call.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range resp.GetModelWork() {
			total += w.GetInputTokens()
		}
		done = resp.GetProgress().GetDone()
	}
	if total != 15 {
		t.Errorf("%d tokens were told of, want 15", total)
	}
}

// trailing is what a call tells of models in its trailer.
func trailing(t *testing.T, md metadata.MD) string {
	t.Helper()
	var works []*searchv1.ModelWork
	for _, text := range md.Get("poterne-model-work-bin") {
		w := new(searchv1.ModelWork)
		if err := proto.Unmarshal([]byte(text), w); err != nil {
			t.Fatal(err)
		}
		works = append(works, w)
	}
	return worked(works)
}

// A call that fails after models worked tells what they did; one that does not, tells it
// in its answer alone.
func TestFailuresTellWhatModelsDid(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "notes")
	h.put(ctx, "notes", doc("a", "red apples"))
	search := func(ctx context.Context, req *searchv1.SearchRequest) (string, error) {
		var md metadata.MD
		req.Collection = cmp.Or(req.GetCollection(), "notes")
		_, err := h.client.Search(ctx, req, grpc.Trailer(&md))
		return trailing(t, md), err
	}
	if got, err := search(ctx, &searchv1.SearchRequest{Query: "green"}); err != nil || got != "" {
		t.Errorf("a search that is answered: %q, %v", got, err)
	}
	if got, err := search(ctx, &searchv1.SearchRequest{Query: "green", Filter: "year >>"}); err == nil || got != "" {
		t.Errorf("a search that asked no model: %q, %v", got, err)
	}
	if got, err := search(ctx, &searchv1.SearchRequest{Query: "five red apples now", Rerank: &searchv1.Rerank{Model: "nothing"}}); apierr.ReasonOf(err) != apierr.InvalidArgument || got != "embed fake@v0 4/0" {
		t.Errorf("a search whose reranker there is not: %q, %v", got, err)
	}
	// Its caller leaves while passages are judged.
	leaving, leave := context.WithCancel(ctx)
	h.inference.set(func(f *fakeInference) { f.judging = func(ctx context.Context) { leave(); <-ctx.Done() } })
	got, err := search(leaving, &searchv1.SearchRequest{Query: "three green apples", Rerank: &searchv1.Rerank{Model: "judge"}})
	if apierr.ReasonOf(err) != apierr.Cancelled || !strings.HasPrefix(got, "embed fake@v0 3/0") {
		t.Errorf("a search whose caller leaves: %q, %v", got, err)
	}
	if err := os.RemoveAll(h.cfg.Index.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.cfg.Index.Dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.create(ctx, "nowhere")
	if got, err := search(ctx, &searchv1.SearchRequest{Collection: "nowhere", Query: "two pears"}); apierr.ReasonOf(err) != apierr.Unavailable || got != "embed fake@v0 2/0" {
		t.Errorf("a search without an index: %q, %v", got, err)
	}
}

// Documents whose writer leaves, and an import that breaks off, tell it, too.
func TestWritesThatFailTellWhatModelsDid(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "notes")
	leaving, leave := context.WithCancel(ctx)
	asked := 0
	h.inference.set(func(f *fakeInference) {
		f.hook = func(*inferencev1.EmbedRequest) error {
			if asked++; asked == 2 {
				leave()
			}
			return nil
		}
	})
	var docs []*searchv1.Document
	for i := range 200 { // more than are embedded at once
		docs = append(docs, doc(fmt.Sprint("d", i), fmt.Sprint("word", i)))
	}
	var md metadata.MD
	_, err := h.client.BatchUpsertDocuments(leaving, &searchv1.BatchUpsertDocumentsRequest{Collection: "notes", Documents: docs}, grpc.Trailer(&md))
	if got := trailing(t, md); apierr.ReasonOf(err) != apierr.Cancelled || !strings.HasPrefix(got, "embed fake@v0 ") {
		t.Errorf("documents: %q, %v", got, err)
	}
}

// What is embedded anew in the background is nobody's work.
func TestEmbeddingAnewIsNobodysWork(t *testing.T) {
	h := newHarness(t, quickly)
	h.create(h.as("ada"), "c")
	h.put(h.as("ada"), "c", doc("a", "red apples"))
	h.inference.set(func(f *fakeInference) { f.digest = "sha256:" + strings.Repeat("2", 64) })
	h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{})
	h.until(2, "serving")
	if n := h.inference.embedded(); n != 2 {
		t.Errorf("%d passages were embedded, want 2", n)
	}
	got := worked(h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "apples"}).GetModelWork())
	if got != "embed fake@v0 1/0" {
		t.Errorf("the search is told of %q", got)
	}
}
