package openai

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/metering"
	"github.com/poterne/poterne/services/edge/internal/route"
)

// counted is an observer of what attempts came to.
type counted struct {
	route.Observer
	mu  sync.Mutex
	got []string
}

func (c *counted) Attempted(_ context.Context, _, what, outcome string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, what+" "+outcome)
}

// copying answers a copy with an error, or once it may.
type copying struct {
	*engine
	fail  error
	until chan struct{}
}

func (c *copying) Invoke(ctx context.Context, req *inferencev1.InvokeRequest, opts ...grpc.CallOption) (*inferencev1.InvokeResponse, error) {
	<-c.until
	if c.fail != nil {
		return nil, c.fail
	}
	return c.engine.Invoke(ctx, req, opts...)
}

// A request tells that a copy was sent, and what became of it where that is known by its
// end; the metric counts it in any case. A model that is not there is not mirrored to.
func TestWhatBecameOfACopyIsTold(t *testing.T) {
	full := apierr.New(apierr.QuotaExceeded, "the budget is used up")
	for name, c := range map[string]struct {
		fail, refuse     error
		counted, outcome string
	}{
		"it answers":           {nil, nil, "mirror answered", "mirrored"},
		"there is no model":    {apierr.New(apierr.ModelNotFound, "no model"), nil, "mirror no-model", "not-mirrored"},
		"it fails":             {apierr.New(apierr.EngineFailed, "broken"), nil, "mirror failed", "mirror-failed"},
		"a budget has no room": {nil, full, "mirror refused", "not-mirrored"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, ctx := metered(t, new(meter), new(engine))
				seen, model := new(counted), &copying{engine: new(engine), fail: c.fail, until: make(chan struct{})}
				s.Inference, s.Meters, s.Allowance = model, metering.Meters{&meter{refuse: c.refuse}}, allowsAll{}
				s.Router = route.New(route.Options{Config: route.DefaultConfig(), Clock: clock.Real(), Log: slog.New(slog.DiscardHandler), Observer: seen})
				s.mirrors = make(chan struct{}, 1)
				entry := audit.NewEntry("r")
				r := &route.Route{Name: "copied", Mirror: route.Mirror{Model: "other", Percent: 100}}
				s.mirror(audit.NewContext(ctx, entry), call{model: "small", body: hello(), routed: &routed{route: r}})
				told := func() (out []string) {
					all, _ := entry.Decisions()
					for _, d := range all {
						out = append(out, d.Outcome)
					}
					return out
				}
				if c.refuse == nil {
					if synctest.Wait(); !slices.Equal(told(), []string{"copied"}) || len(seen.got) != 0 {
						t.Errorf("before it ends it is told %v, and counted %v", told(), seen.got)
					}
				}
				close(model.until)
				if synctest.Wait(); !slices.Equal(told(), []string{"copied", c.outcome}) || !slices.Equal(seen.got, []string{c.counted}) {
					t.Errorf("it is told %v, and counted %v", told(), seen.got)
				}
			})
		})
	}
}
