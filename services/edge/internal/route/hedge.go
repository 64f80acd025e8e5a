package route

import (
	"context"
	"errors"
	"time"

	"github.com/poterne/poterne/pkg/clock"
)

// ErrNotDone is of a second one that was not done after all.
var ErrNotDone = errors.New("route: it is not done a second time")

// Hedged does something, and does it a second time unless it has ended after delay and
// if spend, which must be quick, lets it. The first that succeeds wins, and the other one's
// context ends; one that fails counts when nothing else is to come. won is 1 or 2, and so is
// what do is told of itself; the second may end with ErrNotDone, and it is as if spend had
// not let it. Where it was done twice, lost is called once, when both have ended, with what
// the other one came to: perhaps after Hedged has returned, and on another goroutine.
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
	var failed *ended // before the other one has ended
	for {
		select {
		case r := <-results:
			switch inHand--; {
			case errors.Is(r.err, ErrNotDone) && failed != nil:
				return failed.out, failed.who, failed.err
			case errors.Is(r.err, ErrNotDone):
			case inHand > 0 && r.err != nil:
				failed = &r
			case inHand > 0:
				go func() { // nobody waits for the one that loses
					if other := <-results; !errors.Is(other.err, ErrNotDone) {
						lost(other.out, other.err)
					}
				}()
				return r.out, r.who, nil
			default:
				if failed != nil {
					lost(failed.out, failed.err)
				}
				return r.out, r.who, r.err
			}
		case <-late:
			if late = nil; spend() {
				inHand++
				go run(2)
			}
		}
	}
}
