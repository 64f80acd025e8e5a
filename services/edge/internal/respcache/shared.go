package respcache

import (
	"context"
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Shared is a store that edges share: Redis or memcached. It may lose what it has.
// Implementations are safe for concurrent use.
type Shared interface {
	// Get returns what is kept under a name, at most limit bytes of it; nil when there
	// is nothing.
	Get(ctx context.Context, name string, limit int) ([]byte, error)
	// Set keeps a value for a time.
	Set(ctx context.Context, name string, value []byte, ttl time.Duration) error
	// Claim notes that somebody does what a name stands for; false: somebody has claimed
	// it, less than ttl ago.
	Claim(ctx context.Context, name string, ttl time.Duration) (bool, error)
	Close() error
}

// The bounds within which a store that is away may be noticed.
const (
	breakerFailures = 5
	breakerPause    = time.Second
	// writeTimeout bounds a write, for which nobody waits, and maxWrites how many there
	// are at once.
	writeTimeout = time.Second
	maxWrites    = 64
)

// guarded asks a shared store within a bound of time, and after a few failures in a
// row not at all for a while.
type guarded struct {
	store   Shared
	sealer  *sealer
	timeout time.Duration
	reads   *gobreaker.CircuitBreaker[[]byte]
	writes  chan struct{}
	base    context.Context //nolint:containedctx // of the writes, which no request waits for
	failed  func(operation string)
}

func newGuarded(base context.Context, store Shared, s *sealer, timeout time.Duration, failed func(operation string)) *guarded {
	return &guarded{
		store: store, sealer: s, timeout: timeout, base: base, failed: failed, writes: make(chan struct{}, maxWrites),
		reads: gobreaker.NewCircuitBreaker[[]byte](gobreaker.Settings{
			Name: "cache", MaxRequests: 1, Timeout: breakerPause,
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
			// A caller that goes away says nothing about the store.
			IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		}),
	}
}

// The operations on the shared store that fail.
const (
	failedRead    = "read"
	failedWrite   = "write"
	failedOpen    = "open"    // it was not written by this deployment, or not for this key
	failedDropped = "dropped" // too many writes at once
	failedClaim   = "claim"
)

// sealedOverhead is what sealing adds, at most, in bytes.
const sealedOverhead = 64

// get returns nil when there is nothing, and when the store does not answer in time.
func (g *guarded) get(ctx context.Context, k Key) *Entry {
	sealed, err := g.reads.Execute(func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		return g.store.Get(ctx, g.sealer.name(k), g.sealer.max+sealedOverhead)
	})
	if err != nil {
		g.failed(failedRead)
		return nil
	}
	if len(sealed) == 0 {
		return nil
	}
	data, err := g.sealer.open(k, sealed)
	if err != nil {
		g.failed(failedOpen)
		return nil
	}
	e, err := decode(data)
	if err != nil {
		g.failed(failedOpen)
		return nil
	}
	return e
}

// set keeps an entry, some time soon.
func (g *guarded) set(k Key, e *Entry) {
	select {
	case g.writes <- struct{}{}:
	default:
		g.failed(failedDropped)
		return
	}
	go func() {
		defer func() { <-g.writes }()
		data, err := e.encode()
		if err == nil && len(data) <= g.sealer.max {
			data, err = g.sealer.seal(k, data)
		}
		if err != nil || len(data) > g.sealer.max {
			g.failed(failedWrite)
			return
		}
		ctx, cancel := context.WithTimeout(g.base, writeTimeout)
		defer cancel()
		if err := g.store.Set(ctx, g.sealer.name(k), data, e.TTL+e.Stale); err != nil && g.base.Err() == nil {
			g.failed(failedWrite)
		}
	}()
}

// claim is true too when the store does not answer in time.
func (g *guarded) claim(ctx context.Context, k Key, ttl time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	mine, err := g.store.Claim(ctx, g.sealer.claim(k), ttl)
	if err != nil {
		g.failed(failedClaim)
	}
	return mine || err != nil
}
