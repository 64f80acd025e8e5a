package rebuild

import (
	"context"
	"maps"
	"time"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/search/internal/store"
)

// progressEvery is how often it is told how far the building is, unless a state
// changes: what is left has to be counted for that.
const progressEvery = 5 * time.Second

// told is what was told last of the building. It is Run's alone.
type told struct {
	at     time.Time
	states map[string]store.State // by index name
}

// progress tells how far the building is.
func (b *Builder) progress(ctx context.Context, live []store.Live) {
	if b.o.Progress == nil {
		return
	}
	now, states := b.o.Clock.Now(), make(map[string]store.State, len(live))
	for _, l := range live {
		states[l.Collection.IndexName()] = l.State
	}
	if now.Sub(b.told.at) < progressEvery && maps.Equal(states, b.told.states) {
		return
	}
	b.told = told{now, states}
	p, err := b.o.Store.Progress(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.o.Logger.WarnContext(ctx, "the progress of embedding generations is not known", telemetry.Err(err))
		}
		return
	}
	b.o.Progress(ctx, p)
}
