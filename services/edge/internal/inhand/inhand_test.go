package inhand_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/poterne/poterne/services/edge/internal/inhand"
)

func TestCallsAreCutAndAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := inhand.New()
		if err := c.Wait(t.Context()); err != nil {
			t.Fatalf("without calls: %v", err)
		}
		over, done := c.Begin(t.Context())
		done()
		ctx, done := c.Begin(t.Context())
		if n := c.Cut(); n != 1 {
			t.Fatalf("%d calls in hand", n)
		}
		<-ctx.Done()
		failed := errors.New("the engine is gone")
		if err := inhand.Outcome(ctx, failed); !errors.Is(err, inhand.ErrEnding) {
			t.Errorf("a call that was cut answers %v", err)
		}
		if err := inhand.Outcome(ctx, nil); err != nil {
			t.Errorf("a call that was done anyway answers %v", err)
		}
		if err := inhand.Outcome(over, failed); !errors.Is(err, failed) {
			t.Errorf("a call that was over before answers %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("waited for nothing: %v", err)
		}
		waited := make(chan error, 1)
		go func() { waited <- c.Wait(t.Context()) }()
		synctest.Wait()
		done()
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		late, done := c.Begin(t.Context())
		defer done()
		<-late.Done()
	})
}
