//go:build real

package search_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/search"
)

// The comparison with the oracle, where Elasticsearch finds the documents.
func TestRealNobodyLearnsOfWhatTheyMayNotReadInElasticsearch(t *testing.T) {
	url := testkit.Elasticsearch(t).URL
	w := newWorld(t, 12, func(c *search.Config) {
		c.Index.Kind, c.Index.Elasticsearch.Addresses = search.KindElasticsearch, []string{url}
	})
	for round := range 8 {
		w.change()
		if round == 4 {
			w.h.stop()
			w.h.start()
		}
		for range 2 {
			w.compare(round)
		}
	}
}

// Elasticsearch holds both tenants' documents, and shares nothing of them either.
func TestRealTenantsShareNoStatisticsInElasticsearch(t *testing.T) {
	url := testkit.Elasticsearch(t).URL
	tenantsShareNoStatistics(newHarness(t, func(c *search.Config) {
		c.Index.Kind, c.Index.Elasticsearch.Addresses = search.KindElasticsearch, []string{url}
	}))
}
