package fleet_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/inproc"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

// BenchmarkJoin is how long it takes until 1,000 workers of ten versions each
// are known: what a replica does at its start.
func BenchmarkJoin(b *testing.B) {
	const workers, versions = 1000, 10
	source := discovery.NewMemory()
	set := make([]discovery.Instance, workers)
	byAddr := make(map[string]*fakes.Worker, workers)
	for i := range workers {
		id := fmt.Sprintf("w%04d", i)
		w := fakes.NewWorker(id)
		for v := range versions {
			w.Set(fakes.Digest(fmt.Sprint((i+v)%workers)), ready)
		}
		byAddr[id] = w
		set[i] = discovery.Instance{ID: id, Service: "poterne-worker", Addr: id}
	}
	source.Set("poterne-worker", set)
	for b.Loop() {
		f := fleet.New(fleet.Options{
			Source: source, Service: "poterne-worker", Clock: clock.Real(), Logger: slog.New(slog.DiscardHandler),
			Dial: func(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
				return inproc.New(fakes.Chain(), func(r grpc.ServiceRegistrar) {
					workerv1.RegisterWorkerServiceServer(r, byAddr[in.Addr])
				}), nil, nil
			},
			Backoff: backoff.Policy{Base: time.Second, Max: time.Second}, SilenceTimeout: time.Minute, MaxWorkers: workers,
		})
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		for {
			view, changed := f.Watch()
			if len(view.Workers) == workers && view.Settled {
				break
			}
			<-changed
		}
		cancel()
		if err := <-ended; err != nil {
			b.Fatal(err)
		}
	}
}
