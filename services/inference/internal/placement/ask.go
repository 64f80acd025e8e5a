package placement

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
)

func (c *Controller) load(ctx context.Context, l Load) {
	name, digest := l.Variant.Label, l.Variant.Digest
	c.asked.begin(l.Worker, digest, l.Evict)
	c.calls.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, c.opts.CallTimeout)
		defer cancel()
		_, err := l.Worker.Client().LoadModel(ctx, &workerv1.LoadModelRequest{
			Digest: digest, Name: name, Spec: l.Variant.Spec, Evict: l.Evict, Pinned: l.Pin, WarmUp: l.WarmUp,
			Signatures: signaturesOf(l.Variant),
		})
		wait := c.asked.end(l.Worker, digest, c.opts.Clock.Now(), err)
		c.answered(ctx, AskLoad, name, l.Worker, wait, err)
	})
}

// signaturesOf is what a worker that loads only what is signed looks at.
func signaturesOf(v *catalog.Variant) (out []*workerv1.DigestSignature) {
	for _, s := range v.Signatures {
		out = append(out, &workerv1.DigestSignature{KeyId: s.GetKeyId(), Signature: s.GetSignature()})
	}
	return out
}

func (c *Controller) unload(ctx context.Context, u Unload) {
	c.unasked.begin(u.Worker, u.Digest, false)
	c.calls.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, c.opts.CallTimeout)
		defer cancel()
		_, err := u.Worker.Client().UnloadModel(ctx, &workerv1.UnloadModelRequest{Digest: u.Digest})
		wait := c.unasked.end(u.Worker, u.Digest, c.opts.Clock.Now(), err)
		c.answered(ctx, AskUnload, u.Digest, u.Worker, wait, err)
	})
}

// answered records an answer and has the whole looked at again: what one worker
// refuses another may take.
func (c *Controller) answered(ctx context.Context, what, name string, w *fleet.Worker, wait time.Duration, err error) {
	if c.opts.Asked != nil {
		c.opts.Asked(ctx, what, apierr.ReasonOf(err))
	}
	attrs := []slog.Attr{slog.String("what", what), slog.String("model", name), slog.String("worker", w.ID())}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err), slog.Duration("again_in", wait))
		c.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "the worker refused", attrs...)
	} else {
		c.opts.Logger.LogAttrs(ctx, slog.LevelInfo, "the worker agreed", attrs...)
	}
	c.lookAgain()
}
