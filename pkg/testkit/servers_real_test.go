//go:build real

package testkit_test

import (
	"testing"

	"github.com/poterne/poterne/pkg/testkit"
)

func TestRealRedisRestarts(t *testing.T) {
	r := testkit.Redis(t)
	r.Kill()
	if testkit.ReadyTCP(r.Addr)(t.Context()) == nil {
		t.Fatal("it still answers")
	}
	again := r.Restart()
	if again.Addr != r.Addr {
		t.Fatalf("it moved to %s", again.Addr)
	}
}

func TestRealElasticsearchAnswers(t *testing.T) {
	e := testkit.Elasticsearch(t)
	if err := testkit.ReadyHTTP(e.URL + "/_cluster/health")(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Stop()
	if testkit.ReadyHTTP(e.URL+"/_cluster/health")(t.Context()) == nil {
		t.Fatal("it still answers")
	}
}
