package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// outageRate is how many requests a second go on while the registry is away.
const outageRate = 50

// RegistryOutage stops the registry under traffic for a while: no request may fail,
// and once it is back what changed in it is followed without a restart.
func RegistryOutage(away time.Duration) func(ctx context.Context) ([]Row, error) {
	return func(ctx context.Context) (rows []Row, err error) {
		n, err := openRegistry(ctx, "")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, n.close()) }()
		c, err := open(ctx, shape{workers: 1, registry: n.conns[0]})
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, c.close()) }()

		traffic, stop := context.WithCancel(ctx)
		defer stop()
		// Requests that are in hand when the time is over are waited for, not counted.
		t := &outageTraffic{client: c.client}
		var running sync.WaitGroup
		defer running.Wait()
		defer stop()
		running.Go(func() { t.run(traffic) })
		if err := n.process.Stop(); err != nil {
			return nil, err
		}
		before := t.done.Load()
		select {
		case <-time.After(away):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		during := t.done.Load() - before
		if err := n.process.Start(ctx); err != nil {
			return nil, err
		}
		back := time.Now()
		caughtUp, err := t.followed(ctx, n)
		stop()
		running.Wait()
		return []Row{
			{
				What:     fmt.Sprintf("registry stopped for %v under %d requests/s: failed requests", away, outageRate),
				Measured: fmt.Sprintf("%d of %d, %d while it was away", t.failed.Load(), t.done.Load(), during),
				Bar:      "0", Holds: t.failed.Load() == 0 && during > int64(away.Seconds()*outageRate/2),
			},
			{
				What: "registry restarted: a change is followed without a restart", Measured: caughtUp.Sub(back).Round(time.Millisecond).String() + " after it was back",
				Bar: "≤ 60 s", Holds: caughtUp.Sub(back) <= time.Minute,
			},
		}, err
	}
}

// outageTraffic asks the model and counts.
type outageTraffic struct {
	client       inferencev1.InferenceServiceClient
	done, failed atomic.Int64
}

func (t *outageTraffic) run(ctx context.Context) {
	tick := time.NewTicker(time.Second / outageRate)
	defer tick.Stop()
	var calls sync.WaitGroup
	defer calls.Wait()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		calls.Go(func() {
			_, err := t.client.Invoke(ctx, outageRequest(model))
			if ctx.Err() != nil {
				return
			}
			t.done.Add(1)
			if err != nil {
				t.failed.Add(1)
			}
		})
	}
}

// followed makes an alias and returns when requests that name it are answered.
func (t *outageTraffic) followed(ctx context.Context, n *registryNode) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	_, err := n.SetAlias(ctx, &registryv1.SetAliasRequest{Model: model, Alias: "after", Version: 1, Etag: "*"}, grpc.WaitForReady(true))
	for err == nil {
		if _, err := t.client.Invoke(ctx, outageRequest(model+"@after")); err == nil {
			return time.Now(), nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			err = fmt.Errorf("the change is not followed: %w", ctx.Err())
		}
	}
	return time.Now(), err
}

func outageRequest(reference string) *inferencev1.InvokeRequest {
	return &inferencev1.InvokeRequest{
		Model: reference, Operation: workerv1.Operation_OPERATION_COMPLETION, Body: []byte(`{"prompt":"hi","max_tokens":4}`),
	}
}
