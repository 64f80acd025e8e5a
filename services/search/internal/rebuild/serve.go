package rebuild

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/search/internal/store"
)

// Serve makes an embedding generation serve: at once when it is ready or
// retired, after what was written last is embedded; when it is being built, as
// soon as it is ready; when it has failed, after its documents were tried again.
// The error says what is missing when it cannot serve: nothing that was written
// gets lost by a switch.
func (b *Builder) Serve(ctx context.Context, c store.Collection, number int) (store.EmbeddingGeneration, error) {
	g, err := b.o.Store.EmbeddingGeneration(ctx, c, number)
	if err != nil {
		return store.EmbeddingGeneration{}, err
	}
	switch g.State {
	case store.Serving:
		return g, nil
	case store.Building, store.Failed:
		err = b.o.Store.Resume(ctx, c, number)
	case store.Ready, store.Retired:
		err = b.serveNow(ctx, store.Live{Collection: at(c, g), EmbeddingGeneration: g})
	case store.Removing:
		fallthrough
	default:
		err = apierr.New(apierr.FailedPrecondition, "embedding generation %d is being removed", number)
	}
	if err != nil {
		return store.EmbeddingGeneration{}, err
	}
	b.Notify()
	b.o.Indexes.Notify()
	return b.o.Store.EmbeddingGeneration(ctx, c, number)
}

// Rollback makes the embedding generation serve that was retired last.
func (b *Builder) Rollback(ctx context.Context, c store.Collection) (store.EmbeddingGeneration, error) {
	g, err := b.o.Store.Previous(ctx, c)
	if err != nil {
		return store.EmbeddingGeneration{}, err
	}
	return b.Serve(ctx, c, g.Number)
}

func at(c store.Collection, g store.EmbeddingGeneration) store.Collection {
	c = c.At(g.Number)
	c.Chunking, c.Analyser = g.Chunking, g.Analyser
	return c
}

// otherWorks is how long to wait while another process works on the embedding
// generation.
const otherWorks = 50 * time.Millisecond

// serveNow embeds what is missing and switches, again when documents were
// written meanwhile.
func (b *Builder) serveNow(ctx context.Context, l store.Live) error {
	for {
		done := false
		err := b.held(ctx, l.Collection, func(ctx context.Context, lease store.Lease) error {
			var err error
			done, err = b.slice(ctx, l, lease, false)
			return err
		})
		if err == nil && done {
			err = b.followed(ctx, l.Collection)
		}
		if err == nil && done {
			err = b.o.Store.Serve(ctx, l.Collection, l.Number)
		}
		switch {
		case err == nil && done:
			return nil
		case errors.Is(err, store.ErrLeaseLost):
			if err := clock.Sleep(ctx, b.o.Clock, otherWorks); err != nil {
				return err
			}
			// That process follows; what it has done may be enough.
			if err := b.o.Store.Serve(ctx, l.Collection, l.Number); !errors.Is(err, store.ErrBehind) {
				return err
			}
		case err != nil && !errors.Is(err, store.ErrBehind):
			return err
		}
	}
}
