package search_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/search"
)

func TestDefaultsAreComplete(t *testing.T) {
	if err := search.DefaultConfig().Complete(); err != nil {
		t.Error(err)
	}
}

func TestEveryProblemIsListed(t *testing.T) {
	cfg := search.DefaultConfig()
	cfg.Index = search.Index{Kind: "paper"}
	cfg.Embedding = search.Embedding{}
	cfg.Chunking = search.Chunking{MaxWords: 3, OverlapWords: 2}
	cfg.Limits = search.Limits{}
	cfg.Store.DSN = "mysql://x"
	cfg.DrainTimeout = 0
	var problems config.Errors
	if err := cfg.Complete(); !errors.As(err, &problems) {
		t.Fatalf("got %v", err)
	}
	for _, path := range []string{
		"index.kind", "index.dir", "index.poll_interval", "embedding.model", "embedding.batch", "embedding.batch_bytes",
		"embedding.concurrency", "embedding.passage_timeout", "embedding.query_timeout", "chunking.max_words",
		"chunking.overlap_words", "limits.collections", "limits.collection_chunks", "store.dsn", "drain_timeout",
	} {
		if !strings.Contains(problems.Error(), path+": ") {
			t.Errorf("%s is not among the problems:\n%v", path, problems)
		}
	}
}
