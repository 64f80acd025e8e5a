package shadow

import (
	"context"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// tenant is whose turn copies take: no tenant has such a name.
const tenant = "\x00shadow"

// Copy is one request's. Part and End are for the goroutine that serves the
// request; nil ignores them.
type Copy struct {
	runner *Runner
	shadow *catalog.Shadow
	began  time.Time
	done   chan struct{} // the request is over

	// Of the request, until done is closed.
	request Side
	parts   [][]byte
	size    int
	cut     bool

	mu      sync.Mutex
	stopped Outcome // why it was ended before its time
	cancel  context.CancelFunc
}

// Part notes a part of the request's answer, which is not copied: it must not be
// changed any more.
func (c *Copy) Part(data []byte) {
	if c == nil || c.cut {
		return
	}
	if c.size += len(data); c.size > maxAnswer {
		c.cut, c.parts = true, nil
		return
	}
	c.parts = append(c.parts, data)
}

// End notes that the request is over. A request without an answer has nothing to
// compare with: its copy is ended too.
func (c *Copy) End(usage *commonv1.TokenUsage, err error) {
	if c == nil {
		return
	}
	c.request.Took, c.request.Usage, c.request.Reason = c.runner.opts.Clock.Now().Sub(c.began), usage, apierr.ReasonOf(err)
	close(c.done)
	if err != nil {
		c.stop(Cancelled)
	}
}

// stop ends the copy, if it runs.
func (c *Copy) stop(why Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped == "" {
		c.stopped = why
	}
	if c.cancel != nil {
		c.cancel()
	}
}

// cancelBy says how the copy is ended.
func (c *Copy) cancelBy(cancel context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel = cancel; c.stopped != "" {
		cancel() // it was ended already
	}
}

func (c *Copy) run(ctx context.Context, operation workerv1.Operation, body []byte) {
	defer c.runner.leave(c)
	v := c.shadow.Version
	q := routing.Query{
		Request: schedule.Request{
			Digest: v.Digest, Name: v.Name, Key: tenant, Tenant: tenant, Class: fair.Batch,
			Prompt: prefix.Read(body), Bytes: len(body), Spare: true, Yield: func() { c.stop(Yielded) },
		},
		Referenced: true,
	}
	side := Side{Version: v}
	var answer []byte
	begun := false
	err := c.runner.opts.Router.Do(ctx, &q, func(ctx context.Context, run *routing.Run) (bool, error) {
		begun = true
		resp, err := run.Copy().Worker().Client().Invoke(ctx, &workerv1.InvokeRequest{
			Digest: run.Copy().Digest(), Operation: operation, Body: body, Replica: c.runner.opts.Replica,
		})
		if err != nil {
			return true, err // true: nobody is owed another try
		}
		run.Count(resp.GetUsage())
		side.Usage, answer = resp.GetUsage(), resp.GetBody()
		return true, nil
	})
	side.Took, side.Reason = c.runner.opts.Clock.Now().Sub(c.began), apierr.ReasonOf(err)
	c.runner.budgets.use(c.shadow, int64(side.Usage.GetPromptTokens())+int64(side.Usage.GetCompletionTokens()))
	c.compare(ctx, side, begun, answer)
}

// compare waits for the request, and tells what came of both. begun says that the
// copy reached a worker.
func (c *Copy) compare(ctx context.Context, side Side, begun bool, answer []byte) {
	out := Comparison{Shadow: c.shadow, Copy: side, Request: Side{Version: c.request.Version, Arm: c.request.Arm}}
	if side.Reason == "" {
		select {
		case <-c.done:
		case <-ctx.Done():
		}
	}
	over := false
	select {
	case <-c.done:
		over, out.Request = true, c.request
	default:
	}
	c.mu.Lock()
	stopped := c.stopped
	c.mu.Unlock()
	switch {
	case side.Reason != "" && stopped != "":
		out.Outcome = stopped
	case side.Reason != "" && !begun && (side.Reason == apierr.Overloaded || side.Reason == apierr.Unavailable):
		out.Outcome = Saturated
	case side.Reason != "":
		out.Outcome = Failed
	case !over || out.Request.Reason != "":
		out.Outcome = Cancelled // or the request takes longer than its copy is kept
	default:
		c.read(&out, answer)
	}
	c.runner.opts.Ended(ctx, out)
}

func (c *Copy) read(out *Comparison, answer []byte) {
	asked, ok := textOf(c.parts)
	copied, read := textOf([][]byte{answer})
	if !ok || !read || c.cut || len(answer) > maxAnswer {
		out.Outcome = Unread
		return
	}
	out.Request.Bytes, out.Copy.Bytes = len(asked), len(copied)
	if out.Outcome, out.Similarity = Equal, 1; asked != copied {
		out.Outcome, out.Similarity = Different, similarity(asked, copied)
	}
}
