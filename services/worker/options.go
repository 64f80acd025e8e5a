package worker

import (
	"math/rand/v2"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/worker/internal/gpu"
)

// Option gives New a part instead of the one it would make from the
// configuration. The giver closes what it gives.
type Option func(*options)

type options struct {
	version   string
	telemetry *telemetry.Telemetry
	clock     clock.Clock
	ids       ids.Source
	jitter    lifecycle.Jitter
	readiness *health.Readiness
	discovery backend.Backend
	gpus      gpu.Source
	registry  grpc.ClientConnInterface
}

func newOptions(opts []Option) options {
	o := options{version: "dev", clock: clock.Real(), ids: ids.UUIDv7(), jitter: rand.Float64}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithVersion names the build in logs, traces, metrics and the worker's state.
func WithVersion(version string) Option { return func(o *options) { o.version = version } }

// WithTelemetry reports through t.
func WithTelemetry(t *telemetry.Telemetry) Option { return func(o *options) { o.telemetry = t } }

// WithClock takes the time from c.
func WithClock(c clock.Clock) Option { return func(o *options) { o.clock = c } }

// WithIDs takes request ids, and a new worker's id, from s.
func WithIDs(s ids.Source) Option { return func(o *options) { o.ids = s } }

// WithJitter takes chance from j, which must be safe for concurrent use.
func WithJitter(j lifecycle.Jitter) Option { return func(o *options) { o.jitter = j } }

// WithReadiness adds the service's check to r.
func WithReadiness(r *health.Readiness) Option { return func(o *options) { o.readiness = r } }

// WithGPUs takes s's word for which GPUs there are.
func WithGPUs(s gpu.Source) Option { return func(o *options) { o.gpus = s } }

// WithRegistryConn fetches artifacts of the registry through conn.
func WithRegistryConn(conn grpc.ClientConnInterface) Option {
	return func(o *options) { o.registry = conn }
}

// WithDiscovery registers the service in b.
func WithDiscovery(b backend.Backend) Option { return func(o *options) { o.discovery = b } }
