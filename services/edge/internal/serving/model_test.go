package serving_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/edge/internal/models"
	"github.com/poterne/poterne/services/edge/internal/serving"
)

const (
	holds  = time.Second
	maxLag = 3 * time.Millisecond // of a change on its way to anybody
	maxRTT = time.Millisecond
	beats  = 2 * time.Second
	// deaf is how long the edge may take a dead stream for a living one.
	deaf = 15 * time.Second
)

// plane is a registry whose changes reach inference and the edge, each a little later,
// or the edge not at all.
type plane struct {
	mu       sync.Mutex
	random   *rand.Rand
	changes  []time.Time // when each revision came to be
	seen     int64       // the revision that inference has
	hung     time.Time   // when a stream of the edge's last began to hang
	watchers []*watcher
}

func (p *plane) lag(most time.Duration) time.Duration {
	return time.Duration(p.random.Int64N(int64(most)))
}

// change makes the next revision, and sends it on its ways.
func (p *plane) change() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = append(p.changes, time.Now())
	revision := int64(len(p.changes))
	time.AfterFunc(p.lag(maxLag), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = max(p.seen, revision)
	})
	for _, w := range p.watchers {
		due := time.Now().Add(p.lag(maxLag))
		if due.Before(w.last) {
			due = w.last
		}
		w.last = due // a stream keeps the order
		time.AfterFunc(time.Until(due), func() { w.send(revision, true) })
	}
}

// oldest is the least revision that an answer may be of that is no older than some time.
func (p *plane) oldest(age time.Duration) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	var revision int64
	for i, at := range p.changes {
		if time.Since(at) > age {
			revision = int64(i + 1)
		}
	}
	return revision
}

// lose ends the edge's streams, or has them hang with nobody being told.
func (p *plane) lose(hang bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if hang {
		p.hung = time.Now()
	}
	for _, w := range p.watchers {
		w.lose(hang)
	}
	p.watchers = nil
}

func (p *plane) ResolveServing(context.Context, *inferencev1.ResolveServingRequest, ...grpc.CallOption) (*inferencev1.ResolveServingResponse, error) {
	p.mu.Lock()
	there, back := p.lag(maxRTT/2), p.lag(maxRTT/2)
	p.mu.Unlock()
	time.Sleep(there) //nolint:forbidigo // the bubble's time
	p.mu.Lock()
	revision := p.seen
	p.mu.Unlock()
	time.Sleep(back) //nolint:forbidigo // the bubble's time
	return &inferencev1.ResolveServingResponse{Digest: "sha256:1", Revision: revision, Basis: model}, nil
}

func (p *plane) Watch(ctx context.Context, in *registryv1.WatchRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[registryv1.WatchResponse], error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !in.GetPrompts() {
		return nil, errors.New("changes of prompts would not be told")
	}
	w := &watcher{ctx: ctx, messages: make(chan *registryv1.WatchResponse, 1000), ended: make(chan struct{})}
	w.messages <- &registryv1.WatchResponse{Revision: int64(len(p.changes)), Event: &registryv1.WatchResponse_Snapshot{
		Snapshot: &registryv1.SnapshotPart{First: true, Last: true, WithPrompts: true},
	}}
	w.told = int64(len(p.changes))
	p.watchers = append(p.watchers, w)
	go func() {
		for ctx.Err() == nil {
			time.Sleep(beats) //nolint:forbidigo // the bubble's time
			w.send(0, false)
		}
	}()
	return w, nil
}

// watcher is one stream of the edge's.
type watcher struct {
	grpc.ClientStream
	ctx      context.Context
	messages chan *registryv1.WatchResponse
	ended    chan struct{}
	last     time.Time // when the last change that is on its way arrives

	mu    sync.Mutex
	hangs bool
	told  int64
}

func (w *watcher) send(revision int64, changed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hangs {
		return
	}
	m := &registryv1.WatchResponse{Revision: w.told, Event: &registryv1.WatchResponse_Heartbeat{Heartbeat: new(registryv1.Heartbeat)}}
	if changed {
		w.told = revision
		m.Revision, m.Event = revision, &registryv1.WatchResponse_Removed{Removed: "other"}
	}
	w.messages <- m
}

func (w *watcher) lose(hang bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hangs = true; !hang {
		close(w.ended)
	}
}

func (w *watcher) Recv() (*registryv1.WatchResponse, error) {
	select {
	case m := <-w.messages:
		return m, nil
	case <-w.ended:
		return nil, errors.New("the stream ended")
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
}

// TestNoAnswerIsOlderThanItMayBe has changes, requests and cuts come as chance has it. An
// answer is never older than a change takes to be told; while a stream hangs that nobody
// knows of, never older than the time for which answers are remembered; and who changed
// something through the edge is answered as inference has it.
func TestNoAnswerIsOlderThanItMayBe(t *testing.T) {
	t.Parallel()
	var remembered, asked, hung int
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			p := &plane{random: rand.New(rand.NewPCG(seed, 84))}
			f := models.NewFollower(models.Deps{Registry: p, Clock: clock.Real(), Log: slog.New(slog.DiscardHandler)})
			memory, err := serving.New(serving.Options{Registry: f, Clock: clock.Real(), For: holds})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(as("acme", "ana"))
			done := make(chan error, 1)
			go func() { done <- f.Component().Run(ctx) }()
			steps := rand.New(rand.NewPCG(seed, 48))
			for range 2000 {
				time.Sleep(time.Duration(steps.Int64N(int64(60 * time.Millisecond)))) //nolint:forbidigo // the bubble's time
				switch n := steps.IntN(4000); {
				case n < 100:
					p.change()
				case n < 140:
					p.change()
					memory.Written()
					if _, known, _ := memory.Resolve(ctx, p, ask("m")); known {
						t.Errorf("seed %d: who changed something is answered from memory", seed)
					}
				case n < 160:
					p.lose(false)
				case n == 160:
					p.lose(true)
				default:
					began := time.Now()
					said, known, err := memory.Resolve(ctx, p, ask("m"))
					if err != nil {
						t.Fatal(err)
					}
					age := maxLag + time.Since(began)
					p.mu.Lock()
					hangs := !p.hung.IsZero() && time.Since(p.hung) < deaf
					p.mu.Unlock()
					if hangs {
						age += holds
					}
					if known {
						remembered++
						if hangs {
							hung++
						}
					} else {
						asked++
					}
					if least := p.oldest(age); said.GetRevision() < least {
						t.Errorf("seed %d: revision %d, not at least %d; remembered %t, a stream hangs %t", seed, said.GetRevision(), least, known, hangs)
					}
				}
			}
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
			time.Sleep(beats) //nolint:forbidigo // the bubble's time
		})
	}
	t.Logf("%d remembered, %d of them with a stream that hung; %d asked", remembered, hung, asked)
	if remembered < asked || hung < asked/20 {
		t.Errorf("%d were remembered, %d of them with a stream that hung, and %d asked: nothing was tried", remembered, hung, asked)
	}
}
