package overload

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
)

// service works on so many calls at once, each for about as long, and lets the others
// wait, as a search service with its threads does.
type service struct {
	grpc.ClientConnInterface
	threads chan struct{}
	takes   time.Duration
	random  func() float64
}

func (s *service) Invoke(ctx context.Context, _ string, _, _ any, _ ...grpc.CallOption) error {
	select {
	case s.threads <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.threads }()
	return clock.Sleep(ctx, clock.Real(), time.Duration(float64(s.takes)*(0.5+s.random())))
}

type unseen struct{}

func (unseen) Shed(context.Context, string) {}
func (unseen) Limit(context.Context, int)   {}

// outcome is what a load came to after it had settled.
type outcome struct {
	answered, shed int64
	p50, p95       time.Duration
	by             map[Priority]*[2]int64 // asked, answered
}

const (
	threads  = 8
	takes    = 10 * time.Millisecond
	capacity = float64(threads) * float64(time.Second/takes)
	settles  = 8 * time.Second
	measured = 4 * time.Second
)

// offer has rate calls a second come in, whatever became of those before.
func offer(t *testing.T, conn grpc.ClientConnInterface, rate float64) outcome {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	out := outcome{by: map[Priority]*[2]int64{Batch: {}, Standard: {}, Interactive: {}}}
	var mu sync.Mutex
	var times []time.Duration
	var calls sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for begin := time.Now(); time.Since(begin) < settles+measured; {
		<-time.After(time.Duration(random.ExpFloat64() * float64(time.Second) / rate))
		counts, p := time.Since(begin) > settles, Priority(random.IntN(3))
		calls.Go(func() {
			at := time.Now()
			err := conn.Invoke(context.WithValue(ctx, priorityKey{}, p), "/Search", nil, nil)
			if !counts || errors.Is(err, context.Canceled) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out.by[p][0]++
			if errors.Is(err, ErrShed) {
				out.shed++
				return
			}
			out.answered++
			out.by[p][1]++
			times = append(times, time.Since(at))
		})
	}
	cancel()
	calls.Wait()
	if slices.Sort(times); len(times) == 0 {
		out.p50, out.p95 = measured, measured // nobody was answered for so long
		return out
	}
	out.p50, out.p95 = times[len(times)/2], times[len(times)*95/100]
	return out
}

type priorityKey struct{}

func testService(seed uint64) *service {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 3))
	return &service{threads: make(chan struct{}, threads), takes: takes, random: func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return random.Float64()
	}}
}

func gatedService() (grpc.ClientConnInterface, *Gate) {
	cfg := DefaultBackendConfig()
	cfg.MinLimit, cfg.SlowAfter = 2, takes*3/2
	g := New(cfg, clock.Real(), unseen{})
	return Before(testService(4), g, func(ctx context.Context, _ string) Class {
		p, _ := ctx.Value(priorityKey{}).(Priority)
		return Class{Priority: p}
	}), g
}

// At three times what a service can do, those who are let in wait little longer than
// when it has little to do, as many are answered as it can do, and the urgent ones first.
// Without the limit the same load has everybody wait for seconds.
func TestOverloadNeitherDelaysNorWastes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet, _ := gatedService()
		calm := offer(t, quiet, capacity/4)
		conn, g := gatedService()
		busy := offer(t, conn, 3*capacity)
		limit, inHand := g.Limit()
		goodput := float64(busy.answered) / measured.Seconds()
		t.Logf("quiet: p50 %v, p95 %v; overloaded: p50 %v, p95 %v, %.0f of %.0f a second, %d turned away, limit %d",
			calm.p50, calm.p95, busy.p50, busy.p95, goodput, capacity, busy.shed, limit)
		if calm.shed != 0 {
			t.Errorf("%d were turned away by a service that has little to do", calm.shed)
		}
		if busy.p50 > calm.p50*5/2 || busy.p95 > 2*calm.p95 {
			t.Errorf("under overload p50 is %v and p95 %v, without %v and %v", busy.p50, busy.p95, calm.p50, calm.p95)
		}
		if goodput < 0.9*capacity {
			t.Errorf("%.0f a second are answered, the service can do %.0f", goodput, capacity)
		}
		share := func(p Priority) float64 { return float64(busy.by[p][1]) / float64(busy.by[p][0]) }
		if share(Interactive) < 0.6 || share(Batch) > 0.1 || share(Standard) <= share(Batch) {
			t.Errorf("of interactive ones %.2f are answered, standard %.2f, batch %.2f", share(Interactive), share(Standard), share(Batch))
		}
		if inHand != 0 {
			t.Errorf("%d are in hand at the end", inHand)
		}
		if without := offer(t, testService(5), 3*capacity); without.p50 < 20*calm.p50 {
			t.Errorf("without the limit p50 is %v: the load is none", without.p50)
		}
	})
}

// broken answers with an error at once.
type broken struct {
	grpc.ClientConnInterface
	calls atomic.Int32
}

func (b *broken) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	b.calls.Add(1)
	return context.DeadlineExceeded
}

// What brings its work along says nothing by its time, and what fails leaves its place.
func TestLongCallsSayNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultBackendConfig()
		g := New(cfg, clock.Real(), unseen{})
		slow := testService(6)
		slow.takes = 4 * cfg.SlowAfter
		long := Before(slow, g, func(context.Context, string) Class { return Class{Long: true} })
		before, _ := g.Limit()
		for range 5 {
			if err := long.Invoke(t.Context(), "/Upsert", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		if after, inHand := g.Limit(); after != before || inHand != 0 {
			t.Errorf("long calls: from %d to %d, %d in hand", before, after, inHand)
		}
		b := new(broken)
		if err := Before(b, g, func(context.Context, string) Class { return Class{} }).Invoke(t.Context(), "/Search", nil, nil); !errors.Is(err, context.DeadlineExceeded) || b.calls.Load() != 1 {
			t.Errorf("%v after %d calls", err, b.calls.Load())
		}
		if _, inHand := g.Limit(); inHand != 0 {
			t.Errorf("%d in hand", inHand)
		}
	})
}
