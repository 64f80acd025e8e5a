package agent

import (
	"context"
	"log/slog"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// A quantiser that does not answer is asked again after askAgain, and then after
// twice as long each time, up to askSeldom: it may have been slow on a busy start,
// and may be installed later.
const (
	askAgain  = time.Minute
	askSeldom = 10 * time.Minute
)

// askQuantizer finds out what can be made here, and tells it. It asks until it
// knows, or ctx ends.
func (a *Agent) askQuantizer(ctx context.Context) {
	if a.parts.Maker == nil {
		return
	}
	told := ""
	for pause := askAgain; ; pause = min(2*pause, askSeldom) {
		_, err := a.parts.Maker.Offer(ctx)
		if err == nil {
			a.hub.changed()
			return
		}
		if ctx.Err() != nil {
			return
		}
		if why := err.Error(); why != told { // once, however often it is asked
			told = why
			a.log.InfoContext(ctx, "no quantiser is offered", slog.Any("error", err))
		}
		if clock.Sleep(ctx, a.parts.Clock, pause) != nil {
			return
		}
	}
}
