package metrics

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

const (
	nameCacheRequests = "poterne.edge.cache.requests"     // by result and, of those that pass by, reason
	nameCacheSaved    = "poterne.edge.cache.saved_tokens" // by kind: prompt or completion
	nameCacheEntries  = "poterne.edge.cache.entries"
	nameCacheBytes    = "poterne.edge.cache.memory" // By
	nameCacheRatio    = "poterne.edge.cache.hit_ratio"
	nameCacheShared   = "poterne.edge.cache.shared_failures" // by operation
	nameCacheKept     = "poterne.edge.cache.answers"         // by outcome: kept, or why not
	nameCacheRenewals = "poterne.edge.cache.renewals"        // by outcome
)

// Cache tells what the response cache does. It is safe for concurrent use, and a nil
// one counts nothing.
type Cache struct {
	meter    metric.Meter
	requests metric.Int64Counter
	saved    metric.Int64Counter
	shared   metric.Int64Counter
	kept     metric.Int64Counter
	renewals metric.Int64Counter
	watch    metric.Registration
}

// NewCache makes the instruments.
func NewCache(m metric.Meter) (*Cache, error) {
	c := &Cache{meter: m}
	var errs [5]error
	c.requests, errs[0] = m.Int64Counter(nameCacheRequests, metric.WithDescription("Requests, by what the response cache did for them."))
	c.saved, errs[1] = m.Int64Counter(nameCacheSaved, metric.WithDescription("Tokens that no engine had to read or generate, by kind."))
	c.shared, errs[2] = m.Int64Counter(nameCacheShared, metric.WithDescription("Failures of the cache that edges share, by operation."))
	c.kept, errs[3] = m.Int64Counter(nameCacheKept, metric.WithDescription("Answers of engines that the response cache saw, by whether they were kept."))
	c.renewals, errs[4] = m.Int64Counter(nameCacheRenewals, metric.WithDescription("Stale answers that were to be made anew, by what came of it."))
	return c, errors.Join(errs[:]...)
}

// Observe has the entries in memory, their bytes and the hit ratio told.
func (c *Cache) Observe(read func() (entries, bytes int64, ratio float64)) error {
	if c == nil {
		return nil
	}
	entries, err1 := c.meter.Int64ObservableGauge(nameCacheEntries, metric.WithDescription("Answers in this edge's memory."))
	size, err2 := c.meter.Int64ObservableGauge(nameCacheBytes, metric.WithUnit("By"), metric.WithDescription("Bytes that they take."))
	ratio, err3 := c.meter.Float64ObservableGauge(nameCacheRatio, metric.WithDescription("Hits of hits and misses, since this edge began."))
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	var err error
	c.watch, err = c.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		n, b, r := read()
		o.ObserveInt64(entries, n)
		o.ObserveInt64(size, b)
		o.ObserveFloat64(ratio, r)
		return nil
	}, entries, size, ratio)
	return err
}

// Count counts a request; result is hit, miss, stale, bypass or hit-semantic, and
// reason one of package respcache's, or empty.
func (c *Cache) Count(ctx context.Context, result, reason string, prompt, completion int64) {
	if c == nil {
		return
	}
	c.requests.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result), attribute.String("reason", reason)))
	if prompt > 0 {
		c.saved.Add(ctx, prompt, metric.WithAttributes(attribute.String("kind", "prompt")))
	}
	if completion > 0 {
		c.saved.Add(ctx, completion, metric.WithAttributes(attribute.String("kind", "completion")))
	}
}

// Kept counts an answer; outcome is kept, or one of few reasons why not.
func (c *Cache) Kept(ctx context.Context, outcome string) {
	if c != nil {
		c.kept.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	}
}

// Renewed counts a stale answer that was to be made anew; outcome is one of package
// respcache's.
func (c *Cache) Renewed(ctx context.Context, outcome string) {
	if c != nil {
		c.renewals.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	}
}

// SharedFailed counts a failure; operation is one of package respcache's.
func (c *Cache) SharedFailed(ctx context.Context, operation string) {
	if c != nil {
		c.shared.Add(ctx, 1, metric.WithAttributes(attribute.String("operation", operation)))
	}
}

// Close ends the observations.
func (c *Cache) Close() error {
	if c == nil || c.watch == nil {
		return nil
	}
	return c.watch.Unregister()
}
