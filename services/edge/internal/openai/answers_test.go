package openai

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/respcache"
)

// sure is an engine whose answers can be kept.
type sure struct {
	*engine
	wait chan struct{} // nil: it does not wait
}

func (sure) ResolveServing(context.Context, *inferencev1.ResolveServingRequest, ...grpc.CallOption) (*inferencev1.ResolveServingResponse, error) {
	return &inferencev1.ResolveServingResponse{Model: "small", Version: 3, Digest: "sha256:3"}, nil
}

func (e sure) Invoke(ctx context.Context, _ *inferencev1.InvokeRequest, _ ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	e.calls++
	if e.wait != nil {
		select {
		case <-e.wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return &inferencev1.InvokeResponse{
		ServedBy: &inferencev1.ServedBy{Model: "small", Version: 3, Digest: "sha256:3"}, Usage: &commonv1.TokenUsage{PromptTokens: 5, CompletionTokens: 4},
		Body: []byte(`{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}`),
	}, nil
}

// never is a store in which nothing was purged.
type never struct{}

func (never) Add(_ context.Context, p respcache.Purge) (respcache.Purge, error) { return p, nil }
func (never) Revision(context.Context) (int64, error)                           { return 0, nil }
func (never) After(context.Context, int64, int) ([]respcache.Purge, error)      { return nil, nil }

func keeping(t *testing.T, m *meter, e sure, change func(*respcache.Config)) (*Server, context.Context, *clock.Fake) {
	t.Helper()
	s, ctx := metered(t, m, e.engine)
	clk := clock.NewFake(time.Unix(1_800_000_000, 0))
	purges, err := respcache.NewPurges(t.Context(), never{}, clk, s.Log)
	if err != nil {
		t.Fatal(err)
	}
	cfg := respcache.DefaultConfig()
	cfg.Enabled, cfg.Use = true, respcache.All
	if change != nil {
		change(&cfg)
	}
	c, err := respcache.New(t.Context(), respcache.Deps{Config: cfg, Purges: purges, Clock: clk, Log: s.Log, Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s.Inference, s.Clock, s.Answers = e, clk, &Answers{Cache: c}
	return s, ctx, clk
}

func TestAHitReservesNothing(t *testing.T) {
	m, e := new(meter), sure{engine: new(engine)}
	s, ctx, _ := keeping(t, m, e, nil)
	for range 3 {
		if answer, err := s.CreateChatCompletion(ctx, hello()); err != nil || answer.GetUsage().GetCompletionTokens() != 4 {
			t.Fatal(answer, err)
		}
	}
	if e.calls != 1 || len(m.asked) != 1 || len(m.used) != 1 || len(m.ends) != 1 || m.ends[0] != nil {
		t.Errorf("%d calls, asked %d, told %d, ended %v", e.calls, len(m.asked), len(m.used), m.ends)
	}
}

// once refuses whoever comes first.
type once struct {
	*meter
	refused chan struct{}
	join    <-chan struct{}
	first   bool
}

func (o *once) Begin(ctx context.Context, d metering.Demand, h func(metadata.MD) error) (metering.Hold, error) {
	if !o.first {
		o.first = true
		close(o.refused)
		<-o.join
		return nil, apierr.New(apierr.QuotaExceeded, "your budget is spent")
	}
	return o.meter.Begin(ctx, d, h)
}

// Who may not have the answer made is refused alone: whoever waits for it has it
// made on their own account.
func TestARefusalIsTheLeadersOwn(t *testing.T) {
	join := make(chan struct{})
	m, e := &once{meter: new(meter), refused: make(chan struct{}), join: join}, sure{engine: new(engine)}
	s, ctx, _ := keeping(t, m.meter, e, nil)
	s.Meters = metering.Meters{m}
	refused := make(chan error, 1)
	go func() {
		_, err := s.CreateChatCompletion(ctx, hello())
		refused <- err
	}()
	<-m.refused
	follower := make(chan error, 1)
	go func() {
		_, err := s.CreateChatCompletion(ctx, hello())
		follower <- err
	}()
	<-time.After(20 * time.Millisecond) // it waits for the other; if not, it is answered all the same
	close(join)
	if err := <-refused; apierr.ReasonOf(err) != apierr.QuotaExceeded {
		t.Errorf("the leader: %v", err)
	}
	if err := <-follower; err != nil {
		t.Errorf("who waited: %v", err)
	}
	if e.calls != 1 {
		t.Errorf("%d calls", e.calls)
	}
}

// A stale answer is given at once, and made anew meanwhile, by one.
func TestStaleWhileRevalidate(t *testing.T) {
	m, e := new(meter), sure{engine: new(engine), wait: make(chan struct{}, 10)}
	e.wait <- struct{}{}
	s, ctx, clk := keeping(t, m, e, func(c *respcache.Config) { c.TTL, c.StaleWhileRevalidate = time.Minute, time.Minute })
	ask := func() {
		t.Helper()
		if _, err := s.CreateChatCompletion(ctx, hello()); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	clk.Advance(90 * time.Second)
	if err := s.Answers.Cache.Purges.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ask() // the engine does not answer yet
	}
	e.wait <- struct{}{}
	probe, err := s.planChat(ctx, &edgev1.CreateChatCompletionRequest{Model: "small", Messages: hello().GetMessages(), User: "alice", N: hello().N, MaxTokens: hello().MaxTokens}, new(rests))
	if err != nil || probe == nil {
		t.Fatal(probe, err)
	}
	for {
		if _, state := s.Answers.Cache.Find(ctx, &probe.Ask); state == respcache.Hit {
			break
		}
		<-time.After(time.Millisecond)
	}
	if len(m.asked) != 2 {
		t.Errorf("made %d times", len(m.asked))
	}
}

// What is made anew is nobody's request: the caller's record and Idempotency-Key say
// nothing of it. What fails leaves the stale answer, and is not tried again at once.
func TestAFailedRenewalLeavesTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, e := new(meter), &failing{sure: sure{engine: new(engine)}}
		s, ctx, clk := keeping(t, m, e.sure, func(c *respcache.Config) { c.TTL, c.StaleWhileRevalidate = time.Minute, time.Hour })
		s.Inference = e
		record := audit.NewEntry("r")
		ctx = audit.NewContext(ctx, record)
		ask := func() {
			t.Helper()
			if _, err := s.CreateChatCompletion(ctx, hello()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		later := func(d time.Duration) {
			t.Helper()
			clk.Advance(d)
			if err := s.Answers.Cache.Purges.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
		}
		ask()
		e.err = apierr.New(apierr.Unavailable, "no engine")
		later(2 * time.Minute)
		for range 3 {
			ask()
		}
		if e.asked != 2 || len(m.asked) != 2 || m.asked[0].Optional || !m.asked[1].Optional || !m.asked[1].Beside || m.ends[1] == nil {
			t.Errorf("asked %d times, reserved %+v, ended with %v", e.asked, m.asked, m.ends)
		}
		later(11 * time.Second)
		ask()
		later(11 * time.Second)
		m.refuse = apierr.New(apierr.QuotaExceeded, "the budget is spent")
		ask()
		if e.asked != 3 || len(m.asked) != 4 {
			t.Errorf("asked %d times, reserved %d times", e.asked, len(m.asked))
		}
		m.refuse, e.err = nil, nil
		later(11 * time.Second)
		ask()
		ask()
		if e.asked != 4 {
			t.Errorf("asked %d times", e.asked)
		}
	})
}

// failing is an engine that fails when it is to.
type failing struct {
	sure

	err   error
	asked int
}

func (f *failing) Invoke(ctx context.Context, in *inferencev1.InvokeRequest, o ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	f.asked++
	if f.err != nil {
		return nil, f.err
	}
	return f.sure.Invoke(ctx, in, o...)
}
