package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

const (
	registryWatchers = 50
	registryCommits  = 500
	registryWriters  = 16
	registryRounds   = 50
	registryModels   = 100
	registryVersions = 1000
	registryReads    = 500

	registryReadRounds = 7
)

// onRegistries measures on SQLite, and on PostgreSQL when its programs are there.
func onRegistries(ctx context.Context, measure func(ctx context.Context, name string, n *registryNode) ([]Row, error)) (rows []Row, err error) {
	stores := []struct{ name, bin string }{{"SQLite", ""}}
	if bin := os.Getenv("POTERNE_POSTGRES_BIN_DIR"); bin != "" {
		stores = append(stores, struct{ name, bin string }{"PostgreSQL", bin})
	}
	for _, s := range stores {
		n, err := openRegistry(ctx, s.bin)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		some, err := measure(ctx, s.name, n)
		if err := errors.Join(err, n.close()); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

func registrySpec(seed int) *commonv1.ModelSpec {
	return &commonv1.ModelSpec{Task: commonv1.Task_TASK_CHAT, Engine: "sim", Parameters: map[string]string{"seed": strconv.Itoa(seed)}}
}

// publish makes a model with so many versions.
func (n *registryNode) publish(ctx context.Context, name string, versions int) error {
	if _, err := n.CreateModel(ctx, &registryv1.CreateModelRequest{Name: name}); err != nil {
		return err
	}
	for i := range versions {
		if _, err := n.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: name, Spec: registrySpec(i)}); err != nil {
			return err
		}
	}
	return nil
}

// RegistryCommits measures how long it takes from the answer to a change until
// every one of fifty consumers has it, each on a connection of its own, and how
// long from the call.
func RegistryCommits(ctx context.Context) ([]Row, error) {
	return onRegistries(ctx, func(ctx context.Context, name string, n *registryNode) ([]Row, error) {
		if err := n.publish(ctx, "m", 2); err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var watching sync.WaitGroup
		defer watching.Wait()
		defer cancel()
		seen := make(chan time.Time, registryWatchers*4)
		ready := make(chan error, registryWatchers)
		for range registryWatchers {
			client, err := n.dial() //nolint:contextcheck // the connection outlives the call
			if err != nil {
				return nil, err
			}
			stream, err := client.Watch(ctx, &registryv1.WatchRequest{})
			if err != nil {
				return nil, err
			}
			watching.Go(func() {
				_, err := stream.Recv() // the snapshot
				for ready <- err; err == nil; {
					var m *registryv1.WatchResponse
					if m, err = stream.Recv(); m.GetChanged() != nil {
						seen <- time.Now()
					}
				}
			})
		}
		for range registryWatchers {
			if err := <-ready; err != nil {
				return nil, err
			}
		}
		var answered, called []time.Duration
		for i := range registryCommits {
			begin := time.Now()
			_, err := n.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "a", Version: int32(1 + i%2), Etag: "*"})
			if err != nil {
				return nil, err
			}
			end := time.Now()
			last := end
			for range registryWatchers {
				select {
				case at := <-seen:
					if at.After(last) {
						last = at
					}
				case <-time.After(10 * time.Second):
					return nil, errors.New("a consumer does not see a commit")
				}
			}
			answered, called = append(answered, last.Sub(end)), append(called, last.Sub(begin))
		}
		p50, p99 := timesOf(answered)
		c50, c99 := timesOf(called)
		return []Row{
			{
				What:     fmt.Sprintf("%s: commit to every one of %d consumers, p99 of %d", name, registryWatchers, registryCommits),
				Measured: fmt.Sprintf("%s (p50 %s)", inMillis(p99), inMillis(p50)), Bar: "≤ 20 ms", Holds: p99 <= 20*time.Millisecond,
			},
			told(name+": the same from the call on, which waits for the disk", fmt.Sprintf("p99 %s (p50 %s)", inMillis(c99), inMillis(c50))),
		}, nil
	})
}

// RegistryWriters has sixteen writers move one alias by the etag that all have
// read, round after round.
func RegistryWriters(ctx context.Context) ([]Row, error) {
	return onRegistries(ctx, func(ctx context.Context, name string, n *registryNode) ([]Row, error) {
		if err := n.publish(ctx, "m", 2*registryWriters+1); err != nil {
			return nil, err
		}
		clients := make([]registryv1.RegistryServiceClient, registryWriters)
		for i := range clients {
			var err error
			if clients[i], err = n.dial(); err != nil { //nolint:contextcheck // the connection outlives the call
				return nil, err
			}
		}
		alias, err := n.SetAlias(ctx, &registryv1.SetAliasRequest{Model: "m", Alias: "a", Version: 2*registryWriters + 1})
		if err != nil {
			return nil, err
		}
		etag, good := alias.GetAlias().GetEtag(), 0
		began := time.Now()
		for round := range registryRounds {
			// Other versions than in the round before: to set what is there changes nothing.
			first := 1 + round%2*registryWriters
			var wins, told atomic.Int64
			var next atomic.Value
			var presented [registryWriters]string
			g, gctx := errgroup.WithContext(ctx)
			for w, client := range clients {
				g.Go(func() error {
					got, err := client.SetAlias(gctx, &registryv1.SetAliasRequest{Model: "m", Alias: "a", Version: int32(first + w), Etag: etag})
					switch {
					case err == nil:
						wins.Add(1)
						next.Store(got.GetAlias().GetEtag())
					case apierr.ReasonOf(err) == apierr.Conflict:
						presented[w] = apierr.From(err).Metadata["etag"]
					default:
						return err
					}
					return nil
				})
			}
			if err := g.Wait(); err != nil {
				return nil, err
			}
			if etag, _ = next.Load().(string); etag == "" {
				return nil, errors.New("nobody won a round")
			}
			for _, p := range presented {
				if p == etag {
					told.Add(1)
				}
			}
			if wins.Load() == 1 && told.Load() == registryWriters-1 {
				good++
			}
		}
		return []Row{{
			What:     fmt.Sprintf("%s: rounds of %d writers on one alias with one winner, the others told the present etag", name, registryWriters),
			Measured: fmt.Sprintf("%d of %d, %.0f rounds/s", good, registryRounds, registryRounds/time.Since(began).Seconds()),
			Bar:      "all", Holds: good == registryRounds,
		}}, nil
	})
}

// RegistryReads measures reading with a hundred thousand versions.
func RegistryReads(ctx context.Context) ([]Row, error) {
	return onRegistries(ctx, func(ctx context.Context, name string, n *registryNode) ([]Row, error) {
		for i := range registryModels {
			if err := n.publish(ctx, fmt.Sprintf("m%03d", i), 1); err != nil {
				return nil, err
			}
		}
		if err := n.multiply(ctx, registryVersions); err != nil {
			return nil, err
		}
		r := rand.New(rand.NewPCG(1, 2))
		model := func() string { return fmt.Sprintf("m%03d", r.IntN(registryModels)) }
		last, err := n.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: model(), PageSize: 1})
		if err != nil || len(last.GetVersions()) != 1 || last.GetVersions()[0].GetNumber() != registryVersions {
			return nil, fmt.Errorf("the versions are not there: %v: %w", last, err)
		}
		var rows []Row
		// Each reads the first page, or with back one that begins anywhere.
		versions := func(filter, order string, back bool) func() error {
			return func() error {
				req := &registryv1.ListVersionsRequest{Model: model(), Filter: filter, OrderBy: order}
				if back {
					older := fmt.Sprintf("number <= %d", registryVersions/2-r.IntN(registryVersions/4))
					req.Filter = strings.TrimPrefix(filter+" AND "+older, " AND ")
				}
				got, err := n.ListVersions(ctx, req)
				if err == nil && len(got.GetVersions()) != 100 {
					err = fmt.Errorf("%d versions", len(got.GetVersions()))
				}
				return err
			}
		}
		for _, read := range []struct {
			what string
			call func() error
		}{
			{"GET of a version", func() error {
				_, err := n.GetVersion(ctx, &registryv1.GetVersionRequest{Model: model(), Version: strconv.Itoa(1 + r.IntN(registryVersions))})
				return err
			}},
			{"GET of a model", func() error {
				_, err := n.GetModel(ctx, &registryv1.GetModelRequest{Model: model()})
				return err
			}},
			{"list of 100 versions", func() error {
				_, err := n.ListVersions(ctx, &registryv1.ListVersionsRequest{Model: model()})
				return err
			}},
			{"list of 100 versions, a page far back", versions("", "", true)},
			{"list of 100 versions by a label", versions(`labels.half = "odd"`, "", true)},
			{"list of 100 versions by two labels", versions(`labels.half = "even" AND labels.shard = "4"`, "", false)},
			{"list of 100 versions by a metric", versions("", "metrics.acc desc", false)},
			{"list of 100 versions with a label by a metric", versions(`labels.shard = "4"`, "metrics.acc desc", false)},
			{"list of 100 models", func() error {
				_, err := n.ListModels(ctx, &registryv1.ListModelsRequest{})
				return err
			}},
		} {
			// The median round counts: something else may run during one of them.
			var p50s, p99s []time.Duration
			for range registryReadRounds {
				took := make([]time.Duration, 0, registryReads)
				for range registryReads {
					begin := time.Now()
					if err := read.call(); err != nil {
						return nil, fmt.Errorf("%s: %w", read.what, err)
					}
					took = append(took, time.Since(begin))
				}
				p50, p99 := timesOf(took)
				p50s, p99s = append(p50s, p50), append(p99s, p99)
			}
			p50, p99 := median(p50s), median(p99s)
			rows = append(rows, Row{
				What:     fmt.Sprintf("%s, %d versions: %s, p99", name, registryModels*registryVersions, read.what),
				Measured: fmt.Sprintf("%s (p50 %s)", inMillis(p99), inMillis(p50)), Bar: "< 10 ms", Holds: p99 < 10*time.Millisecond,
			})
		}
		watched, err := n.snapshotTime(ctx)
		return append(rows, told(fmt.Sprintf("%s: a snapshot of all of them for a consumer", name), watched.Round(time.Millisecond).String())), err
	})
}

// snapshotTime is how long a consumer that knows nothing waits for everything.
func (n *registryNode) snapshotTime(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begin := time.Now()
	stream, err := n.Watch(ctx, &registryv1.WatchRequest{})
	for err == nil {
		var m *registryv1.WatchResponse
		if m, err = stream.Recv(); m.GetSnapshot().GetLast() {
			return time.Since(begin), nil
		}
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}
