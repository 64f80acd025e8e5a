package artifact

import (
	"context"
	"sync"

	"github.com/poterne/poterne/pkg/apierr"
)

// writers lets one call of this process at a time append to an upload, the
// latest.
type writers struct {
	mu sync.Mutex
	by map[string]*holder
}

type holder struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// take ends the call that appends to the upload, waits until it has ended, and
// returns a context that ends when another call takes it.
func (w *writers) take(ctx context.Context, id string) (context.Context, func(), error) {
	for {
		w.mu.Lock()
		before := w.by[id]
		if before == nil {
			ctx, cancel := context.WithCancelCause(ctx)
			h := &holder{cancel: cancel, done: make(chan struct{})}
			w.by[id] = h
			w.mu.Unlock()
			return ctx, func() {
				w.mu.Lock()
				delete(w.by, id)
				w.mu.Unlock()
				cancel(nil)
				close(h.done)
			}, nil
		}
		w.mu.Unlock()
		before.cancel(apierr.Wrap(apierr.Conflict, errTaken, "a later call appends to the upload"))
		select {
		case <-before.done:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// end ends the call that appends to the upload, if any.
func (w *writers) end(id string) {
	w.mu.Lock()
	h := w.by[id]
	w.mu.Unlock()
	if h != nil {
		h.cancel(apierr.New(apierr.NotFound, "the upload was given up").WithField("upload"))
	}
}
