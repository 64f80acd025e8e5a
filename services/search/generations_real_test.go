//go:build real

package search_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/testkit"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
	"github.com/poterne/poterne/services/search/internal/analysis"
)

// The switch loses nothing with the truth in PostgreSQL and the index in
// Elasticsearch, where an alias shows what serves.
func TestRealGenerationsSwitch(t *testing.T) {
	url := testkit.Elasticsearch(t).URL
	h := newHarness(t, quickly, func(cfg *search.Config) {
		cfg.Store.DSN = config.SecretURL(testkit.Postgres(t).DSN)
		cfg.Index.Kind = search.KindElasticsearch
		cfg.Index.Elasticsearch.Addresses, cfg.Index.Elasticsearch.Prefix = []string{url}, "gens"
	})
	h.inference.set(func(f *fakeInference) { f.salted = true })
	switchesUnderWrites(t, h, 2, 12)
	serving := h.served().GetEmbeddingGeneration()
	deadline := time.After(20 * time.Second)
	for {
		shown := aliases(t, url+"/_alias/*.serving")
		if len(shown) == 1 && strings.Contains(shown[0], fmt.Sprintf(".g%d.a%d--", serving, analysis.Version)) {
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("the alias shows %v, and %d serves", shown, serving)
		}
	}
	// Those that were removed are not in the cluster any more.
	for n := range serving {
		if _, err := h.generation(n); n > 0 && err == nil {
			_, _ = h.client.DeleteEmbeddingGeneration(h.admin("acme", "root"), &searchv1.DeleteEmbeddingGenerationRequest{Collection: "c", Number: n})
			h.gone(n)
		}
	}
	deadline = time.After(20 * time.Second)
	for {
		if left := aliases(t, url+"/gens-*/_alias"); len(left) == 1 {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			t.Fatalf("there are still %v", aliases(t, url+"/gens-*/_alias"))
		}
	}
}

// aliases returns the indexes that an answer of Elasticsearch about aliases names.
func aliases(t *testing.T, url string) (out []string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]json.RawMessage
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	for name := range answer {
		out = append(out, name)
	}
	return out
}

// A process that is killed while it builds goes on from where it was.
func TestRealKill9DuringABuild(t *testing.T) {
	b := newBinary(t, "")
	t.Setenv("POTERNE_EMBEDDING_REBUILD_LEASE", "1s")
	as := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "root", Roles: []string{"admin"}})
	process := b.start()
	if _, err := b.client.CreateCollection(as, &searchv1.CreateCollectionRequest{Id: "c"}); err != nil {
		t.Fatal(err)
	}
	l := &ledger{acknowledged: map[string]int{}, sent: map[string]int{}, enough: make(chan struct{}, 1)}
	var docs []*searchv1.Document
	for i := range 200 {
		id := fmt.Sprint("d", i)
		l.note(id, 1, true)
		docs = append(docs, doc(id, textOf(id, 1)))
	}
	if _, err := b.client.BatchUpsertDocuments(as, &searchv1.BatchUpsertDocumentsRequest{Collection: "c", Documents: docs}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.client.CreateEmbeddingGeneration(as, &searchv1.CreateEmbeddingGenerationRequest{Collection: "c"}); err != nil {
		t.Fatal(err)
	}
	done, kills := int32(0), 0
	for {
		g := b.generation(as)
		if g.GetState() == "serving" {
			break
		}
		if g.GetDocumentsDone() < done {
			t.Fatalf("%d documents were done, now %v", done, g)
		}
		if g.GetDocumentsDone() >= done+40 && kills < 3 {
			done, kills = g.GetDocumentsDone(), kills+1
			process.Kill()
			process = b.start()
			continue
		}
		<-time.After(20 * time.Millisecond)
	}
	if kills == 0 {
		t.Error("it was never killed")
	}
	b.compare(as, l)
	process.Stop()
}

func (b *binary) generation(ctx context.Context) *searchv1.EmbeddingGeneration {
	b.t.Helper()
	resp, err := b.client.GetEmbeddingGeneration(ctx, &searchv1.GetEmbeddingGenerationRequest{Collection: "c", Number: 2})
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.GetEmbeddingGeneration()
}
