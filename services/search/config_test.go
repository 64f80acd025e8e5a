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
	cfg.Index = search.Index{Kind: "paper", MappedBytes: -1}
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
		"index.kind", "index.dir", "index.mapped_bytes", "index.poll_interval", "embedding.model", "embedding.batch",
		"embedding.batch_bytes",
		"embedding.concurrency", "embedding.passage_timeout", "embedding.query_timeout", "chunking.max_words",
		"chunking.overlap_words", "limits.collections", "limits.collection_chunks", "store.dsn", "drain_timeout",
	} {
		if !strings.Contains(problems.Error(), path+": ") {
			t.Errorf("%s is not among the problems:\n%v", path, problems)
		}
	}
}

func TestElasticsearchIsChecked(t *testing.T) {
	good := search.DefaultConfig()
	good.Index.Kind, good.Index.Dir = search.KindElasticsearch, ""
	good.Index.Elasticsearch.Addresses = []string{"https://es-1:9200"}
	if err := good.Complete(); err != nil {
		t.Fatal(err)
	}
	for path, spoil := range map[string]func(*search.Elasticsearch){
		"addresses":    func(c *search.Elasticsearch) { c.Addresses = nil },
		"addresses[0]": func(c *search.Elasticsearch) { c.Addresses = []string{"https://me:hunter2@es-1:9200"} },
		"addresses[1]": func(c *search.Elasticsearch) { c.Addresses = []string{"http://es-1:9200", "es-2:9200"} },
		"password":     func(c *search.Elasticsearch) { c.Username = "poterne" },
		"api_key":      func(c *search.Elasticsearch) { c.Username, c.Password, c.APIKey = "poterne", "hunter2", "hunter2" },
		"prefix":       func(c *search.Elasticsearch) { c.Prefix = "a-b" },
		"timeout":      func(c *search.Elasticsearch) { c.Timeout = 0 },
	} {
		cfg := *good
		spoil(&cfg.Index.Elasticsearch)
		err := cfg.Complete()
		if err == nil || !strings.Contains(err.Error(), "index.elasticsearch."+path+": ") {
			t.Errorf("%s: got %v", path, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: a secret is shown: %v", path, err)
		}
	}
}
