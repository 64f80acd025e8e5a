package inference

import (
	"math/rand/v2"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/telemetry"
)

// Dialer opens a connection to a worker. closeConn may be nil, for a connection
// that is not the service's to close.
type Dialer func(in discovery.Instance) (conn grpc.ClientConnInterface, closeConn func() error, err error)

// Option gives New a part instead of the one it would make from the
// configuration. The giver closes what it gives.
type Option func(*options)

type options struct {
	version   string
	telemetry *telemetry.Telemetry
	clock     clock.Clock
	ids       ids.Source
	random    func() uint64
	jitter    func() float64
	readiness *health.Readiness
	discovery backend.Backend
	registry  grpc.ClientConnInterface
	workers   discovery.Source
	dial      Dialer
}

func newOptions(opts []Option) options {
	o := options{
		version: "dev", clock: clock.Real(), ids: ids.UUIDv7(), random: rand.Uint64, jitter: rand.Float64,
	}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// WithVersion names the build in logs, traces and metrics.
func WithVersion(version string) Option { return func(o *options) { o.version = version } }

// WithTelemetry reports through t.
func WithTelemetry(t *telemetry.Telemetry) Option { return func(o *options) { o.telemetry = t } }

// WithClock takes the time from c.
func WithClock(c clock.Clock) Option { return func(o *options) { o.clock = c } }

// WithIDs takes request ids from s.
func WithIDs(s ids.Source) Option { return func(o *options) { o.ids = s } }

// WithRandom takes chance from the given functions: 64 random bits, and a number
// in [0, 1). Both must be safe for concurrent use.
func WithRandom(bits func() uint64, jitter func() float64) Option {
	return func(o *options) { o.random, o.jitter = bits, jitter }
}

// WithReadiness adds the service's checks to r.
func WithReadiness(r *health.Readiness) Option { return func(o *options) { o.readiness = r } }

// WithDiscovery finds the other services, and registers this one, in b.
func WithDiscovery(b backend.Backend) Option { return func(o *options) { o.discovery = b } }

// WithRegistryConn reaches the registry through conn.
func WithRegistryConn(conn grpc.ClientConnInterface) Option {
	return func(o *options) { o.registry = conn }
}

// WithWorkers finds workers in source, under WorkerName, and reaches them
// through dial.
func WithWorkers(source discovery.Source, dial Dialer) Option {
	return func(o *options) { o.workers, o.dial = source, dial }
}
