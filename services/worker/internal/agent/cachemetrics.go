package agent

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/poterne/poterne/services/worker/internal/blob"
)

// registerCacheMetrics tells what the cache of fetched files counts. The schemes
// are a handful.
func registerCacheMetrics(meter metric.Meter, stats func() (blob.Stats, bool)) error {
	var errs [7]error
	counter := func(at int, name, unit, text string) metric.Int64ObservableCounter {
		c, err := meter.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs[at] = err
		return c
	}
	gauge := func(at int, name, unit, text string) metric.Int64ObservableGauge {
		g, err := meter.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(text))
		errs[at] = err
		return g
	}
	fetches := counter(0, metricFetches, "", "Fetches of files that ended.")
	received := counter(1, metricFetchBytes, "By", "Bytes of files that were received.")
	lookups := counter(2, metricCacheLookups, "", "Files that were in the cache, or were being fetched for another model just then.")
	evicted := counter(3, metricCacheEvicted, "", "Files that were evicted from the cache to make room.")
	size := gauge(4, metricCacheSize, "By", "Size of the files in the cache, fetched in part or whole.")
	files := gauge(5, metricCacheFiles, "", "Whole files in the cache.")
	_, errs[6] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s, ok := stats()
		if !ok {
			return nil
		}
		for series, n := range s.Fetches {
			o.ObserveInt64(fetches, n, metric.WithAttributes(attribute.String(keyScheme, series.Kind), attribute.String(keyOutcome, series.Outcome)))
		}
		for kind, n := range s.Bytes {
			o.ObserveInt64(received, n, metric.WithAttributes(attribute.String(keyScheme, kind)))
		}
		o.ObserveInt64(lookups, s.Hits, metric.WithAttributes(attribute.String(keyOutcome, "hit")))
		o.ObserveInt64(lookups, s.Joined, metric.WithAttributes(attribute.String(keyOutcome, "joined")))
		o.ObserveInt64(evicted, s.Evicted)
		o.ObserveInt64(size, s.Size)
		o.ObserveInt64(files, s.Files)
		return nil
	}, fetches, received, lookups, evicted, size, files)
	return errors.Join(errs[:]...)
}
