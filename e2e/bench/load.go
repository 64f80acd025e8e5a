package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// arrival is one request of a trace.
type arrival struct {
	at        time.Duration
	tenant    string
	prompt    string
	maxTokens int
	deadline  time.Duration
}

// poisson returns the times of arrivals at a rate, each filled in by fill. Equal
// seeds give equal traces, so that policies are compared on the same one.
func poisson(seed uint64, rate float64, during time.Duration, fill func(r *rand.Rand, a *arrival)) []arrival {
	r := rand.New(rand.NewPCG(seed, 1))
	var out []arrival
	for at := 0.0; ; {
		at += r.ExpFloat64() / rate
		if at > during.Seconds() {
			return out
		}
		a := arrival{at: time.Duration(at * float64(time.Second)), tenant: "t", maxTokens: 16}
		fill(r, &a)
		out = append(out, a)
	}
}

// merge puts traces together in the order of time.
func merge(traces ...[]arrival) []arrival {
	all := slices.Concat(traces...)
	slices.SortStableFunc(all, func(a, b arrival) int { return int(a.at - b.at) })
	return all
}

// sample is what came of one arrival.
type sample struct {
	arrival

	first, total, queued time.Duration
	cached, promptTokens int32
	reason               apierr.Reason // "" when it was answered
}

// play sends a trace at its times, whatever becomes of it, and returns what came
// of each arrival once all ended.
func (c *cluster) play(ctx context.Context, trace []arrival) []sample {
	out := make([]sample, len(trace))
	var wg sync.WaitGroup
	start := time.Now()
	for i, a := range trace {
		if clock.Sleep(ctx, clock.Real(), time.Until(start.Add(a.at))) != nil {
			break
		}
		wg.Go(func() { out[i] = c.ask(ctx, a) })
	}
	wg.Wait()
	return out
}

func (c *cluster) ask(ctx context.Context, a arrival) (s sample) {
	s.arrival = a
	begun := time.Now()
	if a.deadline > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.deadline)
		defer cancel()
	}
	ctx = identity.NewContext(ctx, identity.Caller{Tenant: a.tenant, Subject: "bench"})
	defer func() { s.total = time.Since(begun) }()
	stream, err := c.client.InvokeStream(ctx, &inferencev1.InvokeRequest{
		Model: model, Operation: workerv1.Operation_OPERATION_COMPLETION,
		Body: fmt.Appendf(nil, `{"prompt":%q,"max_tokens":%d,"ignore_eos":true}`, a.prompt, a.maxTokens),
	})
	for err == nil {
		var msg *inferencev1.InvokeStreamResponse
		if msg, err = stream.Recv(); err != nil {
			break
		}
		switch e := msg.GetEvent().(type) {
		case *inferencev1.InvokeStreamResponse_ServedBy:
			s.queued = e.ServedBy.GetQueueTime().AsDuration()
		case *inferencev1.InvokeStreamResponse_Chunk:
			if s.first == 0 {
				s.first = time.Since(begun)
			}
		case *inferencev1.InvokeStreamResponse_Finish:
			s.cached, s.promptTokens = e.Finish.GetUsage().GetCachedPromptTokens(), e.Finish.GetUsage().GetPromptTokens()
		}
	}
	if !errors.Is(err, io.EOF) {
		s.reason = apierr.ReasonOf(err)
	}
	return s
}

// text is about so many tokens that no other seed has.
func text(seed uint64, tokens int) string {
	r := rand.New(rand.NewPCG(seed, 2))
	var b strings.Builder
	for b.Len() < 4*tokens {
		fmt.Fprintf(&b, "%07x ", r.Uint32()>>4)
	}
	return b.String()[:4*tokens]
}

// quantile returns the q-quantile of the samples that get is given, 0 of none.
func quantile(q float64, samples []sample, get func(s *sample) (time.Duration, bool)) time.Duration {
	var all []time.Duration
	for i := range samples {
		if d, ok := get(&samples[i]); ok {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(math.Ceil(q*float64(len(all)))))]
}

func firstToken(s *sample) (time.Duration, bool) { return s.first, s.reason == "" }

// failures counts what was not answered, by reason.
func failures(samples []sample) map[apierr.Reason]int {
	out := make(map[apierr.Reason]int)
	for i := range samples {
		if r := samples[i].reason; r != "" {
			out[r]++
		}
	}
	return out
}

// hits is the share of prompt tokens that the engines had cached.
func hits(samples []sample) float64 {
	var cached, all float64
	for i := range samples {
		cached += float64(samples[i].cached)
		all += float64(samples[i].promptTokens)
	}
	return cached / max(all, 1)
}
