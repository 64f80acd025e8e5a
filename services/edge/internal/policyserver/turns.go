package policyserver

import (
	"context"
	"sync"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
)

// atOnce is how many calls compile policies, or ask them much, at the same time: what
// they take of the processors must leave the gateway its own.
const atOnce = 2

// turnRetry is when to try again after one's tenant had a call in hand.
const turnRetry = time.Second

// turns has the calls that take long come one after another: one of each tenant, and
// few of all. It is safe for concurrent use.
type turns struct {
	places chan struct{}

	mu      sync.Mutex
	tenants map[string]bool
}

func newTurns() *turns {
	return &turns{places: make(chan struct{}, atOnce), tenants: make(map[string]bool)}
}

// enter waits for a place. A tenant that has one already is refused. leave must be
// called.
func (t *turns) enter(ctx context.Context, tenant string) (leave func(), err error) {
	t.mu.Lock()
	taken := t.tenants[tenant]
	t.tenants[tenant] = true
	t.mu.Unlock()
	if taken {
		return nil, apierr.New(apierr.RateLimited, "another call about the tenant's policy is being worked on").WithRetryAfter(turnRetry)
	}
	select {
	case t.places <- struct{}{}:
		return func() { <-t.places; t.gone(tenant) }, nil
	case <-ctx.Done():
		t.gone(tenant)
		return nil, context.Cause(ctx)
	}
}

func (t *turns) gone(tenant string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.tenants, tenant)
}
