package schedule_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/inproc"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// BenchmarkPlace is a decision and its end: the prompt is found in the body and
// hashed, a copy chosen among two, or a thousand, and what came of it noted.
func BenchmarkPlace(b *testing.B) {
	for _, copies := range []int{2, 1000} {
		b.Run(fmt.Sprint(copies), func(b *testing.B) {
			digest := fakes.Digest("m")
			known := knownFleet(b, digest, copies)
			sched := schedule.New(schedule.Options{
				Views: known, Clock: clock.Real(), MaxQueued: 100, MaxQueuedBytes: 1 << 20, InputWeight: 1, OutputWeight: 2,
				Strategy: &schedule.Scored{
					Terms: schedule.DefaultTerms(), Index: prefix.NewIndex(1 << 19), Now: time.Now, Random: rand.Uint64,
				},
				MaxWait: [3]time.Duration{time.Minute, time.Minute, time.Minute},
			})
			bodies := make([][]byte, 64)
			for i := range bodies {
				bodies[i] = fmt.Appendf(nil, `{"prompt":%q,"max_tokens":16}`, hexText(uint64(i), 500))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				body := bodies[i%len(bodies)]
				g, err := sched.Place(b.Context(), &schedule.Request{
					Digest: digest, Name: "m@v1", Tenant: "t", Class: fair.Standard, Bytes: len(body), Prompt: prefix.Read(body),
				}, nil)
				if err != nil {
					b.Fatal(err)
				}
				g.End(schedule.Result{Served: true, Counted: true, Prompt: 500, Output: 16})
			}
		})
	}
}

// knownFleet is so many workers that each have a copy, once all are known.
func knownFleet(b *testing.B, digest string, n int) *fleet.Fleet {
	b.Helper()
	source := discovery.NewMemory()
	set := make([]discovery.Instance, n)
	for i := range set {
		set[i] = discovery.Instance{ID: fmt.Sprintf("w%04d", i), Service: "poterne-worker", Addr: fmt.Sprint(i)}
	}
	source.Set("poterne-worker", set)
	f := fleet.New(fleet.Options{
		Source: source, Service: "poterne-worker", Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
		Dial: func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
			w := fakes.NewWorker(in.ID)
			w.Set(digest, ready)
			return inproc.New(fakes.Chain(), func(r grpc.ServiceRegistrar) {
				workerv1.RegisterWorkerServiceServer(r, w)
			}), nil, nil
		},
		Backoff: backoff.Policy{Base: time.Second, Max: time.Second}, SilenceTimeout: time.Minute, MaxWorkers: n,
	})
	ended := make(chan error, 1)
	go func() { ended <- f.Run(b.Context()) }()
	b.Cleanup(func() {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	for {
		view, changed := f.Watch()
		if len(view.Ready(digest)) == n {
			return f
		}
		<-changed
	}
}
