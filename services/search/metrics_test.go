package search_test

import (
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// metric returns a metric's value with the label, `name=value` or "" for none, and
// whether there is one.
func (h *harness) metric(name, label string) (float64, bool) {
	h.t.Helper()
	families, err := h.telemetry.Registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	key, value, _ := strings.Cut(label, "=")
	has := func(m *dto.Metric) bool {
		for _, l := range m.GetLabel() {
			if l.GetName() == key && l.GetValue() == value {
				return true
			}
		}
		return label == ""
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && has(m) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue(), true
			}
		}
	}
	return 0, false
}

// untilMetric waits for a metric to have a value.
func (h *harness) untilMetric(name, label string, want float64) {
	h.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		got, ok := h.metric(name, label)
		if ok && got == want {
			return
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			h.t.Fatalf("%s{%s} is %v (%v), want %v", name, label, got, ok, want)
		}
	}
}

// TestMetricsOfABuild looks at one that has to wait for its model, and goes on.
func TestMetricsOfABuild(t *testing.T) {
	h := newHarness(t, quickly)
	ada := h.as("ada")
	h.create(ada, "c")
	h.put(ada, "c", doc("a", "one"), doc("b", "two"), doc("d", "three"))
	h.untilMetric("poterne_search_embedding_generations", "state=building", 0)
	h.inference.set(func(f *fakeInference) {
		f.hook = func(*inferencev1.EmbedRequest) error { return apierr.New(apierr.Unavailable, "the model is away") }
	})
	number := h.regenerate(&searchv1.CreateEmbeddingGenerationRequest{}).GetNumber()
	h.untilMetric("poterne_search_embedding_generations", "state=building", 1)
	h.untilMetric("poterne_search_embedding_generations", "state=serving", 1)
	h.untilMetric("poterne_search_embedding_documents_all", "", 3)
	h.untilMetric("poterne_search_embedding_documents_done", "", 0)
	h.untilMetric("poterne_search_embedding_suspensions_total", "", 1)
	h.inference.set(func(f *fakeInference) { f.hook = nil })
	h.until(number, "serving")
	h.untilMetric("poterne_search_embedding_generations", "state=building", 0)
	h.untilMetric("poterne_search_embedding_generations", "state=retired", 1)
	h.untilMetric("poterne_search_embedding_documents_all", "", 0)
}

// TestMetricsOfCaches asks twice for the same.
func TestMetricsOfCaches(t *testing.T) {
	h := newHarness(t)
	ada := h.as("ada")
	h.create(ada, "c")
	h.put(ada, "c", doc("a", "plan"))
	for i, want := range []map[string]float64{{"hit": 0, "miss": 1}, {"hit": 1, "miss": 1}} {
		h.search(ada, &searchv1.SearchRequest{Collection: "c", Query: "plan", Mode: "lexical"})
		if _, err := h.client.GetCollection(ada, &searchv1.GetCollectionRequest{Collection: "c"}); err != nil {
			t.Fatal(err)
		}
		for result, n := range want {
			if got, ok := h.metric("poterne_search_postings_reads_total", "result="+result); got != n || !ok {
				t.Errorf("search %d: %v lists are %s, want %v", i, got, result, n)
			}
		}
		if got, _ := h.metric("poterne_search_collection_counts_total", "result=made"); got != 1 {
			t.Errorf("search %d: %v counts were made", i, got)
		}
	}
	if got, _ := h.metric("poterne_search_collection_counts_total", "result=hit"); got != 1 {
		t.Errorf("%v counts were remembered", got)
	}
	if got, _ := h.metric("poterne_search_postings_memory_bytes", ""); got <= 0 || got > 1<<20 {
		t.Errorf("lists take %v bytes", got)
	}
}
