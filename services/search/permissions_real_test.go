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
	for round := range 12 {
		w.change()
		if round == 6 {
			w.h.stop()
			w.h.start()
		}
		for range 2 {
			w.compare(round)
		}
	}
}
