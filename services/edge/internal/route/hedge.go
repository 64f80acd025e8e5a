package route

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// Hedged does something, and does it a second time unless it has ended after delay and
// if spend lets it. The first that succeeds wins, and the other one's context ends; one
// that fails counts when nothing else is to come. won is 1 or 2, and so is what do is told
// of itself. Where it was done twice, lost is called once, with what the other one came
// to: perhaps after Hedged has returned, and on another goroutine.
func Hedged[T any](
	ctx context.Context, c clock.Clock, delay time.Duration, spend func() bool, do func(ctx context.Context, who int) (T, error), lost func(T, error),
) (out T, won int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type ended struct {
		out T
		who int
		err error
	}
	results := make(chan ended, 2)
	run := func(who int) {
		out, err := do(ctx, who)
		results <- ended{out, who, err}
	}
	go run(1)
	timer := c.NewTimer(delay)
	defer timer.Stop()
	late, inHand := timer.C(), 1
	for {
		select {
		case r := <-results:
			switch inHand--; {
			case inHand == 0:
				return r.out, r.who, r.err
			case r.err != nil:
				lost(r.out, r.err)
			default:
				go func() { // nobody waits for the one that loses
					r := <-results
					lost(r.out, r.err)
				}()
				return r.out, r.who, nil
			}
		case <-late:
			if late = nil; spend() {
				inHand++
				go run(2)
			}
		}
	}
}
