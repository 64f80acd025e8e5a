package openai

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// pacing has the n-th embedding take its time and count n tokens. One that is deaf answers
// although nobody waits any more.
type pacing struct {
	Inference
	takes []time.Duration
	deaf  bool
	calls atomic.Int32
}

func (p *pacing) Embed(ctx context.Context, _ *inferencev1.EmbedRequest, _ ...grpc.CallOption) (*inferencev1.EmbedResponse, error) {
	n := p.calls.Add(1)
	if p.deaf {
		ctx = context.WithoutCancel(ctx)
	}
	if err := clock.Sleep(ctx, clock.Real(), p.takes[n-1]); err != nil {
		return nil, err
	}
	return &inferencev1.EmbedResponse{
		ServedBy: &inferencev1.ServedBy{Model: "small"}, Usage: &commonv1.TokenUsage{PromptTokens: n}, Embeddings: []*workerv1.Embedding{{}},
	}, nil
}

// The one of two embeddings that loses is billed where its answer comes all the same, once
// and beside the request, and given back where it does not. Where there is no room for a
// second one, there is none.
func TestTheHedgeThatLosesIsBilledWhereItIsKnown(t *testing.T) {
	const soon, late = 150 * time.Millisecond, 400 * time.Millisecond
	for name, c := range map[string]struct {
		takes  []time.Duration
		deaf   bool
		refuse time.Duration // after which a second one is; 0: it is not
		answer int32
		calls  int32
		billed map[string]int
	}{
		"the second loses, and answers":   {[]time.Duration{soon, late}, true, 0, 1, 2, map[string]int{"own": 1, "beside": 2}},
		"the first loses, and answers":    {[]time.Duration{late, soon}, true, 0, 2, 2, map[string]int{"own": 2, "beside": 1}},
		"the second loses, and is gone":   {[]time.Duration{soon, late}, false, 0, 1, 2, map[string]int{"own": 1, "beside": 0}},
		"there is no room for a second":   {[]time.Duration{soon, late}, true, time.Nanosecond, 1, 1, map[string]int{"own": 1}},
		"the budget answers too late":     {[]time.Duration{soon, late}, true, 700 * time.Millisecond, 1, 1, map[string]int{"own": 1}},
		"the first comes before a second": {[]time.Duration{time.Millisecond}, true, 0, 1, 1, map[string]int{"own": 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, ctx := metered(t, new(meter), new(engine))
				b := &bills{paid: map[string]int{}, refuse: map[string]chan struct{}{}}
				if c.refuse != 0 {
					refused := make(chan struct{})
					b.refuse["beside"] = refused
					time.AfterFunc(100*time.Millisecond+c.refuse, func() { close(refused) })
				}
				began := time.Now()
				engine := &pacing{takes: c.takes, deaf: c.deaf}
				s.Inference, s.Meters, s.Clock = engine, metering.Meters{b}, clock.Real()
				s.Router = route.New(route.Options{Config: route.DefaultConfig(), Clock: s.Clock, Log: slog.New(slog.DiscardHandler)})
				tail := &route.Route{Name: "tail", Hedge: route.Hedge{Delay: 100 * time.Millisecond}}
				tail.Complete()
				ctx = context.WithValue(ctx, routedKey{}, &routed{route: tail, tenant: "acme"})
				hold, err := s.Meters.Begin(ctx, metering.Demand{User: "own"}, nil)
				if err != nil {
					t.Fatal(err)
				}
				ask := &inferencev1.EmbedRequest{Model: "small", Inputs: []*workerv1.EmbedInput{textInput("x")}}
				resp, err := s.embedOnce(ctx, ask, hold, metering.Demand{Kind: metering.Embed, User: "beside", Beside: true})
				hold.End(ctx, err)
				if took := time.Since(began); took > soon && c.takes[0] == soon {
					t.Errorf("the answer came after %v", took)
				}
				if err != nil || resp.GetUsage().GetPromptTokens() != c.answer {
					t.Errorf("%v, %v", resp.GetUsage(), err)
				}
				<-time.After(time.Second)
				synctest.Wait()
				if b.mu.Lock(); len(b.paid) != len(c.billed) || b.paid["own"] != c.billed["own"] || b.paid["beside"] != c.billed["beside"] || engine.calls.Load() != c.calls {
					t.Errorf("billed are %v, want %v; asked %d times", b.paid, c.billed, engine.calls.Load())
				}
				b.mu.Unlock()
			})
		})
	}
}
