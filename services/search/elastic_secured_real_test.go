//go:build real

package search_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/testkit"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search"
)

// A cluster that speaks TLS and asks who calls is served with what the
// configuration says, by a user who has no right but on our indexes, and what is
// wrong with it is told where an operator looks.
func TestRealElasticsearchWithTLSAndUsers(t *testing.T) {
	es := testkit.ElasticsearchSecured(t)
	file := func(name string, pem []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ca, otherCA := file("ca.pem", es.CA), file("other.pem", testkit.NewCertificate(t).CA)
	at := func(change func(*search.Elasticsearch)) func(*search.Config) {
		return func(cfg *search.Config) {
			cfg.Index.Kind, cfg.Index.PollInterval = search.KindElasticsearch, 100*time.Millisecond
			e := &cfg.Index.Elasticsearch
			e.Addresses, e.CAFile, e.Prefix = []string{es.URL}, ca, es.Prefix
			e.Username, e.Password = es.Username, config.Secret(es.Password)
			change(e)
		}
	}
	for name, change := range map[string]func(*search.Elasticsearch){
		"the user":   func(*search.Elasticsearch) {},
		"an API key": func(e *search.Elasticsearch) { e.Username, e.Password, e.APIKey = "", "", config.Secret(es.APIKey(t)) },
	} {
		t.Run(name, func(t *testing.T) { writesAndFinds(t, newHarness(t, at(change))) })
	}
	for name, c := range map[string]struct {
		change func(*search.Elasticsearch)
		want   string
	}{
		"another authority":  {func(e *search.Elasticsearch) { e.CAFile = otherCA }, "ca_file"},
		"no authority":       {func(e *search.Elasticsearch) { e.CAFile = "" }, "ca_file"},
		"another password":   {func(e *search.Elasticsearch) { e.Password = "hunter2" }, "does not take the credentials"},
		"a key that is none": {func(e *search.Elasticsearch) { e.Username, e.Password, e.APIKey = "", "", "aHVudGVyMg==" }, "does not take the credentials"},
		"another's prefix":   {func(e *search.Elasticsearch) { e.Prefix = "theirs" }, "needs manage, read and write"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, at(c.change))
			// What may be listed without the right is nothing, so it takes a collection.
			as := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "ada"})
			if _, err := h.client.CreateCollection(as, &searchv1.CreateCollectionRequest{Id: "c"}); err != nil {
				t.Fatal(err)
			}
			deadline := time.After(20 * time.Second)
			for why := indexesCheck(h); !strings.Contains(why, c.want); why = indexesCheck(h) {
				select {
				case <-time.After(50 * time.Millisecond):
				case <-deadline:
					t.Fatalf("readiness says %q, want %q", why, c.want)
				}
			}
			if why := indexesCheck(h); strings.Contains(why, "hunter2") || strings.Contains(why, es.Password) {
				t.Errorf("readiness shows a secret: %q", why)
			}
		})
	}
}

// writesAndFinds does what takes each right on a collection.
func writesAndFinds(t *testing.T, h *harness) {
	t.Helper()
	as := identity.NewContext(t.Context(), identity.Caller{Tenant: "acme", Subject: "ada"})
	if _, err := h.client.CreateCollection(as, &searchv1.CreateCollectionRequest{Id: "c"}); err != nil {
		t.Fatal(err)
	}
	resp, err := h.client.BatchUpsertDocuments(as, &searchv1.BatchUpsertDocumentsRequest{
		Collection: "c", Documents: []*searchv1.Document{doc("a", "first plan"), doc("b", "second plan")},
	})
	if err != nil || resp.GetSucceeded() != 2 || len(resp.GetWarnings()) > 0 {
		t.Fatalf("got %v, %v; readiness says %q", resp, err, indexesCheck(h))
	}
	found, err := h.client.Search(as, &searchv1.SearchRequest{Collection: "c", Query: "second plan"})
	if err != nil || len(found.GetHits()) != 2 {
		t.Errorf("got %v, %v", found, err)
	}
	if _, err := h.client.DeleteCollection(as, &searchv1.DeleteCollectionRequest{Collection: "c"}); err != nil {
		t.Error(err)
	}
	if why := indexesCheck(h); why != "" {
		t.Errorf("readiness says %q", why)
	}
}

// indexesCheck returns what readiness says is wrong with the indexes.
func indexesCheck(h *harness) string {
	for _, c := range h.service.Readiness().Report().Checks {
		if c.Name == search.CheckIndexes && !c.Ready {
			return c.Reason
		}
	}
	return ""
}
