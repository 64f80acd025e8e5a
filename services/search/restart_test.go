package search_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// answers is what all modes find, with scores.
func answers(h *harness) string {
	out := ""
	for _, mode := range []string{"hybrid", "lexical", "vector"} {
		for _, q := range []string{"alpha", "beta gamma", "word7"} {
			resp := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: q, Mode: mode, TopK: 20})
			for _, hit := range resp.GetHits() {
				out += fmt.Sprintf("%s=%.9f ", hit.GetChunkId(), hit.GetScore())
			}
			out += "| "
		}
	}
	return out
}

func fill(h *harness) {
	h.t.Helper()
	ctx := h.as("ada")
	h.create(ctx, "c")
	var docs []*searchv1.Document
	for i := range 50 {
		docs = append(docs, doc(fmt.Sprintf("d%02d", i), fmt.Sprintf("alpha word%d beta word%d gamma", i, i%7)))
	}
	h.put(ctx, "c", docs...)
	h.put(ctx, "c", doc("d03", "alpha replaced"))
	if _, err := h.client.DeleteDocument(ctx, &searchv1.DeleteDocumentRequest{Collection: "c", Document: "d04"}); err != nil {
		h.t.Fatal(err)
	}
}

func TestARestartFindsTheSame(t *testing.T) {
	h := newHarness(t)
	fill(h)
	want := answers(h)
	embedded := h.inference.embedded()
	for name, damage := range map[string]func() error{
		"nothing":         func() error { return nil },
		"no index":        func() error { return os.RemoveAll(h.cfg.Index.Dir) },
		"an unknown one":  func() error { return os.MkdirAll(filepath.Join(h.cfg.Index.Dir, "stranger"), 0o700) },
		"a broken one":    func() error { return damageIndex(h.cfg.Index.Dir) },
		"an unclean stop": func() error { return removeBolt(h.cfg.Index.Dir) },
	} {
		h.stop()
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		h.start()
		if got := answers(h); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
		if _, err := os.Stat(filepath.Join(h.cfg.Index.Dir, "stranger")); err == nil {
			t.Errorf("%s: an index without a collection is still there", name)
		}
	}
	if got := h.inference.embedded(); got != embedded {
		t.Errorf("%d passages were embedded again", got-embedded)
	}
}

func damageIndex(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.WriteFile(path, []byte("damaged"), 0o600)
	})
}

func removeBolt(dir string) error {
	found, err := filepath.Glob(filepath.Join(dir, "*", "store", "root.bolt"))
	if err != nil {
		return err
	}
	for _, f := range found {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	return nil
}

func TestAnOlderIndexCatchesUp(t *testing.T) {
	h := newHarness(t)
	fill(h)
	h.stop()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(h.cfg.Index.Dir)); err != nil {
		t.Fatal(err)
	}
	h.start()
	h.put(h.as("ada"), "c", doc("d05", "alpha newest"), doc("extra", "gamma"))
	want := answers(h)
	h.stop()
	if err := os.RemoveAll(h.cfg.Index.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(h.cfg.Index.Dir, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	h.start()
	if got := answers(h); got != want {
		t.Errorf(" got %s\nwant %s", got, want)
	}
}

// found waits until the query finds something.
func found(h *harness, query string) {
	h.t.Helper()
	for h.t.Context().Err() == nil {
		if resp := h.search(h.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: query, Mode: "lexical"}); len(resp.GetHits()) > 0 {
			return
		}
	}
	h.t.Errorf("%q is never found", query)
}

func TestWithoutWaitingDocumentsAreFoundSoon(t *testing.T) {
	h := newHarness(t)
	ctx := h.as("ada")
	h.create(ctx, "c")
	resp, err := h.client.BatchUpsertDocuments(ctx, &searchv1.BatchUpsertDocumentsRequest{
		Collection: "c", Refresh: "none", Documents: []*searchv1.Document{doc("a", "needle")},
	})
	if err != nil || resp.GetSucceeded() != 1 {
		t.Fatalf("%v, %v", resp, err)
	}
	found(h, "needle")
}

func TestAnotherProcessOnTheSameStoreFollows(t *testing.T) {
	a := newHarness(t)
	a.create(a.as("ada"), "c")
	b := newHarness(t, func(c *search.Config) {
		c.Store, c.Index.PollInterval = a.cfg.Store, 5*time.Millisecond
	})
	a.put(a.as("ada"), "c", doc("x", "needle"))
	found(b, "needle")
	b.put(b.as("ada"), "c", doc("x", "haystack"))
	if got := chunkIDs(b.search(b.as("ada"), &searchv1.SearchRequest{Collection: "c", Query: "needle", Mode: "lexical"})); got != "" {
		t.Errorf("b finds %q", got)
	}
	found(a, "haystack")
}
