package agent

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// batchEngine is a fakeEngine that takes many inputs in one call.
type batchEngine struct{ *fakeEngine }

func (f batchEngine) Plan(ctx context.Context, m engine.Model) (*engine.Plan, error) {
	p, err := f.fakeEngine.Plan(ctx, m)
	p.Connect = func(int) engine.Engine { return f }
	p.MaxInFlight = 16
	return p, err
}

func (f batchEngine) EmbedLimits(engine.EmbedRequest) (engine.EmbedLimits, error) {
	return engine.EmbedLimits{Inputs: 8, Calls: 1}, nil
}

func (f batchEngine) Embed(ctx context.Context, r engine.EmbedRequest) (engine.Embeddings, error) {
	if r.Turn != nil {
		return engine.Embeddings{}, apierr.New(apierr.Internal, "a batch waits for a turn")
	}
	r.Turn = func(context.Context) (func(), error) { return func() {}, nil }
	f.set(func() { f.embedded = append(f.embedded, len(r.Inputs)) })
	defer pass(10 * time.Millisecond)
	return f.fakeEngine.Embed(ctx, r)
}

// Calls that come while the engine is busy are computed together, also when one
// of them ends early.
func TestEmbedTogether(t *testing.T) {
	inBubble(t, func(r *rig) {
		r.agent.cfg.Embedding.Batching = true
		r.agent.cfg.Embedding.Batch.MaxHeldBytes = 1 << 20
		r.agent.cfg.Embedding.Concurrency = 0
		r.agent.parts.Adapters = []engine.Adapter{batchEngine{r.engine}}
		r.ready("a")
		ctx, cancel := context.WithCancel(r.Context())
		errs := make(chan error, 6)
		for i := range 6 {
			of := r.Context()
			if i == 3 {
				of = ctx
			}
			go func() {
				resp, err := r.embed(of, "a", fmt.Sprint(i))
				if err == nil && (len(resp.GetEmbeddings()) != 1 || resp.GetUsage() == nil) {
					err = fmt.Errorf("got %v", resp)
				}
				errs <- err
			}()
			synctest.Wait()
		}
		if n := r.agent.State("").GetInFlight(); n != 6 {
			r.Errorf("%d in flight", n)
		}
		cancel()
		if err := <-errs; apierr.ReasonOf(err) != apierr.Cancelled {
			r.Errorf("the one that left: %v", err)
		}
		for range 5 {
			if err := <-errs; err != nil {
				r.Error(err)
			}
		}
		if got := fmt.Sprint(r.engine.embedded); got != "[1 4]" {
			r.Errorf("calls of %s inputs", got)
		}
		synctest.Wait()
		if n := r.agent.State("").GetInFlight(); n != 0 {
			r.Errorf("%d in flight at the end", n)
		}
	})
}
