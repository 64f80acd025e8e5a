package registry_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry"
)

// BenchmarkCommitSeen measures the time from the answer to a change until every
// watcher has it, with a store that waits for the disk. The budget is a p99 of
// 20 ms.
func BenchmarkCommitSeen(b *testing.B) {
	for _, watchers := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			r := start(b, func(c *registry.Config) { c.Store.Sync = "full" })
			commitSeen(b, r, r, watchers)
		})
	}
}

// commitSeen changes an alias through one registry and waits for the watchers
// of another, or of the same.
func commitSeen(b *testing.B, writer, watched *rig, watchers int) {
	b.Helper()
	if _, err := writer.CreateModel(b.Context(), &registryv1.CreateModelRequest{Name: "m"}); err != nil {
		b.Fatal(err)
	}
	var revision int64 = 1
	for i := range 2 {
		_, err := writer.CreateVersion(b.Context(), &registryv1.CreateVersionRequest{Model: "m", Spec: spec(strconv.Itoa(i))})
		if err != nil {
			b.Fatal(err)
		}
		revision++
	}
	streams := make([]stream, watchers)
	for i := range streams {
		streams[i] = watch(b, watched, revision)
		if _, err := streams[i].Recv(); err != nil { // the first heartbeat: it is abreast
			b.Fatal(err)
		}
	}
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		_, err := writer.SetAlias(b.Context(), &registryv1.SetAliasRequest{Model: "m", Alias: "a", Version: int32(1 + i%2), Etag: "*"})
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		for _, s := range streams {
			next(b, s)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}
