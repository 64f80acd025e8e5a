package elastic

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/poterne/poterne/services/search/internal/index"
)

const (
	// breakAfter is how many calls in a row must fail to reach the cluster until
	// the others fail at once.
	breakAfter = 3
	// openFor is for how long they do; then one call tries again.
	openFor = time.Second
)

// errAway is what calls fail of while the cluster was not reached of late.
var errAway = errors.New("elasticsearch index: the cluster was not reached a moment ago")

// errSlow is that a call took longer than it may.
var errSlow = errors.New("the cluster did not answer in time")

// breaker refuses calls to a cluster that the last ones did not reach, so that
// callers hear at once what they would wait for. An answer, whatever it says, is
// no failure, except for those that a proxy gives in a cluster's place.
type breaker struct {
	two *gobreaker.TwoStepCircuitBreaker[struct{}]
	// why is what an operator has to mend before calls reach the cluster; nil when
	// that is not known.
	why *atomic.Pointer[index.RefusedError]
}

func newBreaker() breaker {
	return breaker{why: new(atomic.Pointer[index.RefusedError]), two: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: "elasticsearch", MaxRequests: 1, Timeout: openFor,
		ReadyToTrip:  func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakAfter },
		IsSuccessful: func(err error) bool { return err == nil || reached(err) },
		// Who left, or had no time, says nothing of the cluster.
		IsExcluded: func(err error) bool {
			return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		},
	})}
}

// reached reports whether err is an answer of the cluster.
func reached(err error) bool {
	e, ok := errors.AsType[*statusError](err)
	return ok && e.status != http.StatusBadGateway && e.status != http.StatusGatewayTimeout
}

// do makes the call unless the cluster is away.
func (b breaker) do(call func() error) error {
	done, err := b.two.Allow()
	if err != nil {
		if why := b.why.Load(); why != nil {
			return &index.RefusedError{Why: why.Why, Err: errAway}
		}
		return errAway
	}
	err = explained(call())
	why, _ := errors.AsType[*index.RefusedError](err)
	b.why.Store(why)
	done(err)
	return err
}
