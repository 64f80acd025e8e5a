package search_test

import (
	"fmt"
	"strings"
	"testing"

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
