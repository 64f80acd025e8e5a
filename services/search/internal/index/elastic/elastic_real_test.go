//go:build real

package elastic_test

import (
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/testkit"
	"github.com/poterne/poterne/services/search/internal/index"
	"github.com/poterne/poterne/services/search/internal/index/elastic"
	"github.com/poterne/poterne/services/search/internal/index/indextest"
)

// openAt opens the index whose prefix stands for the directory.
func openAt(t *testing.T, url, dir string, many int) *elastic.Index {
	t.Helper()
	h := fnv.New64a()
	_, _ = h.Write([]byte(dir))
	x, err := elastic.New(elastic.Options{
		Addresses: []string{url}, Prefix: fmt.Sprintf("t%x", h.Sum64()), Timeout: 30 * time.Second, Many: many,
		IDs: ids.UUIDv7(), Clock: clock.Real(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestRealElasticsearchShowsTheContract(t *testing.T) {
	url := testkit.Elasticsearch(t).URL
	for name, many := range map[string]int{"one by one": 0, "by a graph": 1} {
		t.Run(name, func(t *testing.T) {
			indextest.Run(t, func(t *testing.T, dir string) index.Index {
				t.Helper()
				return openAt(t, url, dir, many)
			})
		})
	}
}
