package silence_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/services/inference/internal/fakes"
	"github.com/poterne/poterne/services/inference/internal/silence"
)

func TestGuardEndsASilentStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, heard, stop := silence.Guard(t.Context(), clock.Real(), 3*time.Second)
		defer stop()
		for range 5 {
			fakes.Pass(t, 2*time.Second)
			heard()
			synctest.Wait()
		}
		if ctx.Err() != nil {
			t.Fatalf("ended though it was heard: %v", context.Cause(ctx))
		}
		start := time.Now()
		<-ctx.Done()
		if _, silent := errors.AsType[*silence.Error](context.Cause(ctx)); !silent {
			t.Errorf("the cause is %v; want *silence.Error", context.Cause(ctx))
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("ended after %v of silence; want 3s", got)
		}
	})
}

func TestStopEndsTheGuard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // fails when a goroutine stays
		ctx, _, stop := silence.Guard(t.Context(), clock.Real(), time.Hour)
		stop()
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), context.Canceled) {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
	})
}
