package store_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/poterne/poterne/services/registry/internal/filter"
	"github.com/poterne/poterne/services/registry/internal/store"
	"github.com/poterne/poterne/services/registry/internal/storetest"
)

// benchVersions is how many versions the lists are measured with.
const benchVersions = 100_000

// BenchmarkLists measures what reading takes with 100,000 versions: half of them
// of one model. The budget is a p99 of 10 ms.
func BenchmarkLists(b *testing.B) { benchLists(b, storetest.SQLite) }

func benchLists(b *testing.B, databases storetest.Databases) {
	b.Helper()
	cfg := databases(b)
	storetest.Open(b, cfg, store.Options{}) // for its schema
	filled := storetest.Fill(b, cfg, benchVersions)
	s := storetest.Open(b, cfg, store.Options{})
	versions := func(text, order string, after func(i int) string) func(i int) (int, error) {
		n, err := filter.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		return func(i int) (int, error) {
			q := store.Query{Filter: n, OrderBy: order, Limit: 101}
			if after != nil {
				q.After = after(i)
			}
			list, err := s.FindVersions(b.Context(), filled.Large, q)
			return len(list), err
		}
	}
	somewhere := func(i int) int { return 1000 + i*7919%(filled.Versions-2000) }
	models := func(text, order string) func(i int) (int, error) {
		n, err := filter.Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		return func(int) (int, error) {
			list, err := s.FindModels(b.Context(), store.Query{Filter: n, OrderBy: order, Limit: 101})
			return len(list), err
		}
	}
	runs := []struct {
		name string
		do   func(i int) (int, error)
	}{
		{"get/number", func(i int) (int, error) {
			_, err := s.GetVersion(b.Context(), filled.Large, store.VersionKey{Number: int32(somewhere(i))})
			return 1, err
		}},
		{"get/digest", func(i int) (int, error) {
			v := storetest.Version(b, filled.Large, somewhere(i))
			_, err := s.GetVersion(b.Context(), filled.Large, store.VersionKey{Digest: v.GetDigest()})
			return 1, err
		}},
		{"versions/newest", versions("", "", nil)},
		{"versions/deep", versions("", "", func(i int) string { return fmt.Sprint(somewhere(i)) })},
		{"versions/rare-label", versions(`labels.shard = "r"`, "", nil)},
		{"versions/common-label", versions(`labels.half = "odd"`, "", func(i int) string { return fmt.Sprint(somewhere(i)) })},
		{"versions/two-labels", versions(`labels.half = "even" AND labels.shard = "r"`, "number", nil)},
		{"versions/two-labels-deep", versions(`labels.half = "even" AND labels.shard = "r"`, "", func(i int) string { return fmt.Sprint(somewhere(i)) })},
		{"versions/label-by-metric", versions(`labels.shard = "r"`, "metrics.acc desc", nil)},
		{"versions/common-label-by-metric", versions(`labels.half = "odd"`, "metrics.acc desc", nil)},
		{"versions/best-metric", versions("", "metrics.acc desc", nil)},
		{"versions/metric-and-label", versions(`labels.half = "odd" AND metrics.acc > 0.5`, "", nil)},
		{"models/by-name", models("", "")},
		{"models/by-update", models("", "update_time desc")},
		{"versions/metric-deep", versions("", "metrics.acc desc", func(i int) string {
			place := storetest.Version(b, filled.Large, somewhere(i))
			place.Metrics = map[string]float64{"acc": float64(i%90+5) / 100}
			return store.VersionPlace(place, "metrics.acc desc").String()
		})},
		{"models/label", models(`labels.team = "x"`, "")},
	}
	for _, run := range runs {
		b.Run(run.name, func(b *testing.B) {
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				begin := time.Now()
				n, err := run.do(i)
				took = append(took, time.Since(begin))
				if err != nil || n == 0 {
					b.Fatalf("%d found, %v", n, err)
				}
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		})
	}
}
