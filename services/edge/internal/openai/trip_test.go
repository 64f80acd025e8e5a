package openai

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/obligation"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// claims is a meter of requests with one Idempotency-Key: it lets the next one begin
// only when the one before used nothing.
type claims struct {
	claimed bool
	billed  []string
}

type claim struct {
	of    *claims
	model string
	used  bool
}

func (c *claims) Begin(_ context.Context, d metering.Demand, _ func(metadata.MD) error) (metering.Hold, error) {
	if c.claimed {
		return nil, apierr.New(apierr.Conflict, "a request with this Idempotency-Key was made")
	}
	c.claimed = true
	return &claim{of: c, model: d.Model}, nil
}

func (c *claim) Note(metering.Use) { c.used = true }

func (c *claim) End(_ context.Context, err error) {
	if !c.used && err != nil {
		c.of.claimed = false
		return
	}
	c.of.billed = append(c.of.billed, c.model)
}

// tooLate has answers of the model big come just after the route's time for them, as
// when a piece is under way while the attempt is ended.
type tooLate struct{ Inference }

func (tooLate) Invoke(ctx context.Context, req *inferencev1.InvokeRequest, _ ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	if req.GetModel() == "big" {
		<-ctx.Done()
	}
	return &inferencev1.InvokeResponse{
		ServedBy: &inferencev1.ServedBy{Model: req.GetModel(), Version: 1}, Body: []byte(`{"choices":[]}`),
		Usage: &commonv1.TokenUsage{PromptTokens: 5, CompletionTokens: 4},
	}, nil
}

func (tooLate) InvokeStream(ctx context.Context, req *inferencev1.InvokeRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[inferencev1.InvokeStreamResponse], error) {
	usage := &commonv1.TokenUsage{PromptTokens: 5, CompletionTokens: 1}
	s := &engineStream{fail: io.EOF, rest: []*inferencev1.InvokeStreamResponse{
		{Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: &inferencev1.ServedBy{Model: req.GetModel(), Version: 1}}},
		{Event: &inferencev1.InvokeStreamResponse_Chunk{Chunk: []byte(`{"choices":[{"index":0,"delta":{"content":"a"}}]}`)}, Usage: usage},
		{Event: &inferencev1.InvokeStreamResponse_Finish{Finish: &inferencev1.Finish{Usage: usage}}},
	}}
	if req.GetModel() == "big" {
		return &lateStream{s, ctx}, nil
	}
	return s, nil
}

type lateStream struct {
	*engineStream
	ctx context.Context
}

func (s *lateStream) Recv() (*inferencev1.InvokeStreamResponse, error) {
	<-s.ctx.Done()
	return s.engineStream.Recv()
}

type allowsAll struct{}

func (allowsAll) Allow(context.Context, string, string, any) (obligation.Set, obligation.Limits, error) {
	return obligation.Set{}, obligation.Limits{}, nil
}

// An answer that begins just too late is not seen, and so neither billed nor what the
// request's Idempotency-Key was for: the next model may be asked.
func TestWhatCameTooLateClaimsNothing(t *testing.T) {
	for name, streamed := range map[string]bool{"whole": false, "streamed": true} {
		t.Run(name, func(t *testing.T) {
			s, ctx := metered(t, new(meter), new(engine))
			m := new(claims)
			router := route.New(route.Options{Config: route.DefaultConfig(), Clock: clock.Real(), Log: slog.New(slog.DiscardHandler)})
			falls := route.Route{
				Name: "falls", Timeouts: route.Timeouts{FirstToken: 5 * time.Millisecond, Attempt: 5 * time.Millisecond},
				Fallback: route.Fallback{Models: []string{"small"}},
			}
			falls.Complete()
			router.Use([]route.Route{falls})
			s.Inference, s.Meters, s.Router, s.Allowance, s.Clock = tooLate{}, metering.Meters{m}, router, allowsAll{}, clock.Real()
			ask := hello()
			ask.Model = "big"
			err := func() error {
				if streamed {
					return s.StreamChatCompletion(ask, callerStream{ctx: ctx})
				}
				_, err := s.CreateChatCompletion(ctx, ask)
				return err
			}()
			if err != nil || !slices.Equal(m.billed, []string{"small"}) {
				t.Errorf("%v; billed were %v", err, m.billed)
			}
		})
	}
}

// Where nothing but a breaker kept the first model from being asked, and another one's
// use is refused, the caller is told why it is; where a model failed, how.
func TestARefusalIsNotHiddenByABreaker(t *testing.T) {
	away := apierr.New(apierr.Unavailable, "it cannot be told whether it was made before")
	failed := apierr.New(apierr.EngineFailed, "it broke")
	for name, test := range map[string]struct{ failure, want error }{
		"passed over":           {nil, away},
		"passed over elsewhere": {errOpen("big"), away},
		"failed elsewhere":      {failed, failed},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := metered(t, &meter{refuse: away}, new(engine))
			cfg := route.DefaultConfig()
			cfg.Breaker = route.BreakerConfig{ConsecutiveFailures: 1, OpenFor: time.Minute}
			s.Allowance, s.Router = allowsAll{}, route.New(route.Options{Config: cfg, Clock: s.Clock, Log: slog.New(slog.DiscardHandler)})
			r := &route.Route{
				Name: "r", Retry: route.Retry{Attempts: 1},
				Fallback: route.Fallback{Models: []string{"small"}, On: []route.Reason{route.Timeout, route.EngineFailed}},
			}
			s.Router.Begin(r, "", "big", true).Failed(ctx, route.Timeout)
			c := call{model: "big", body: hello(), routed: &routed{route: r}}
			if _, err := s.wholeFrom(ctx, c, test.failure, func(metadata.MD) error { return nil }); !errors.Is(err, test.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// However a course ends, the next request tries a model whose time is over, at once.
func TestAProbeIsNotLost(t *testing.T) {
	now := clock.NewFake(time.Unix(1_800_000_000, 0))
	cfg := route.DefaultConfig()
	cfg.Breaker = route.BreakerConfig{ConsecutiveFailures: 1, OpenFor: time.Minute}
	for name, lost := range map[string]func(t *testing.T, s *Server, c call, ctx context.Context){
		"its use is refused": func(t *testing.T, s *Server, c call, ctx context.Context) {
			t.Helper()
			s.Meters = metering.Meters{&meter{refuse: apierr.New(apierr.QuotaExceeded, "no more")}}
			if _, err := s.wholeFrom(ctx, c, nil, func(metadata.MD) error { return nil }); apierr.ReasonOf(err) != apierr.QuotaExceeded {
				t.Errorf("%v", err)
			}
		},
		"the request cannot be made": func(t *testing.T, s *Server, c call, ctx context.Context) {
			t.Helper()
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs(HeaderPriority, "none of these"))
			if _, err := s.wholeFrom(ctx, c, nil, func(metadata.MD) error { return nil }); apierr.ReasonOf(err) != apierr.InvalidArgument {
				t.Errorf("%v", err)
			}
		},
		"it is only looked at": func(t *testing.T, s *Server, c call, _ context.Context) {
			t.Helper()
			if err := s.openModel(c); err != nil {
				t.Errorf("%v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := metered(t, new(meter), new(engine))
			s.Clock, s.Allowance = now, allowsAll{}
			s.Router = route.New(route.Options{Config: cfg, Clock: now, Log: slog.New(slog.DiscardHandler)})
			r := &route.Route{Name: "r", Retry: route.Retry{Attempts: 1}, Fallback: route.Fallback{Models: []string{"small"}, On: []route.Reason{route.Timeout}}}
			begin := func() *route.Course { return s.Router.Begin(r, "", "big", true) }
			begin().Failed(ctx, route.Timeout)
			c := call{model: "big", body: hello(), routed: &routed{route: r}}
			if err := s.openModel(c); !errors.Is(err, errFailsOften) {
				t.Fatalf("it is not open: %v", err)
			}
			now.Advance(time.Minute)
			lost(t, s, c, ctx)
			if begin().Open() {
				t.Error("nobody tries the model for as long as it was passed over")
			}
		})
	}
}
