package registry

import (
	"crypto/rand"
	"io"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/registry/internal/artifact"
	"github.com/poterne/poterne/services/registry/internal/content"
	"github.com/poterne/poterne/services/registry/internal/rollout"
)

// Option gives New a part instead of the one it would make from the
// configuration. The giver closes what it gives.
type Option func(*options)

type options struct {
	version   string
	telemetry *telemetry.Telemetry
	clock     clock.Clock
	ids       ids.Source
	random    io.Reader
	readiness *health.Readiness
	discovery backend.Backend
	judge     rollout.Judge
	buckets   OpenBucket
}

func newOptions(opts []Option) options {
	o := options{version: "dev", clock: clock.Real(), ids: ids.UUIDv7(), random: rand.Reader}
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

// WithRandom takes the salts of splits from r, which must be safe for
// concurrent use.
func WithRandom(r io.Reader) Option { return func(o *options) { o.random = r } }

// WithReadiness adds the service's check to r.
func WithReadiness(r *health.Readiness) Option { return func(o *options) { o.readiness = r } }

// WithDiscovery registers the service in b.
func WithDiscovery(b backend.Backend) Option { return func(o *options) { o.discovery = b } }

// OpenBucket opens the bucket that artifacts are kept in.
type OpenBucket func(content.BucketConfig) (artifact.Content, error)

// WithBuckets lets artifacts be kept in a bucket, as open opens it. Programs that
// always keep them in a directory do without, and without what it brings along.
func WithBuckets(open OpenBucket) Option { return func(o *options) { o.buckets = open } }

// WithJudge has j say what the requests of rollouts came to.
func WithJudge(j rollout.Judge) Option { return func(o *options) { o.judge = j } }
