package edge

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/health"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/files"
	"github.com/poterne/poterne/services/edge/internal/firewall"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/mcphttp"
	"github.com/poterne/poterne/services/edge/internal/respcache"
	"github.com/poterne/poterne/services/edge/internal/webtls"
)

// Option gives New a part instead of the one it would make from the
// configuration. The giver closes what it gives.
type Option func(*options)

type options struct {
	version   string
	telemetry *telemetry.Telemetry
	clock     clock.Clock
	ids       ids.Source
	readiness *health.Readiness
	discovery backend.Backend
	inference grpc.ClientConnInterface
	search    grpc.ClientConnInterface
	registry  grpc.ClientConnInterface
	redis     func(RedisConfig) Scripts
	acme      func(ACMEConfig) (Obtainer, error)
	rules     func(FirewallConfig) (FirewallEngine, error)
	shared    func(SharedCacheConfig) (SharedCache, error)
	talks     func(ConversationRedisConfig) ConversationStore
	mcp       func(MCPDeps) http.Handler
	bucket    func(FileBucketConfig) (FileContents, error)
}

// ACMEConfig says from where certificates are obtained.
type ACMEConfig = webtls.ACME

// CertificateFiles is one certificate of http.tls.certificates.
type CertificateFiles = webtls.Pair

// Obtainer obtains them.
type Obtainer = webtls.Obtainer

// WithACME obtains certificates by open, where the configuration names hosts to
// obtain them for. Without it such a configuration is an error.
func WithACME(open func(ACMEConfig) (Obtainer, error)) Option {
	return func(o *options) { o.acme = open }
}

// RedisConfig says where replicas share their limits.
type RedisConfig = limit.RedisConfig

// Scripts runs in Redis what they decide by.
type Scripts = limit.Scripts

// WithRedis connects to Redis by open, where the configuration names one. Without
// it such a configuration is an error: not every program links a Redis client.
func WithRedis(open func(RedisConfig) Scripts) Option { return func(o *options) { o.redis = open } }

// SharedCacheConfig is the section cache.shared.
type SharedCacheConfig = respcache.SharedConfig

// SharedCache is a store where replicas share answers.
type SharedCache = respcache.Shared

// WithSharedCache shares answers in what open connects to, where the configuration
// names a backend. Without it such a configuration is an error: not every program
// links the clients.
func WithSharedCache(open func(SharedCacheConfig) (SharedCache, error)) Option {
	return func(o *options) { o.shared = open }
}

// MCPDeps is what a server of the Model Context Protocol works with.
type MCPDeps = mcphttp.Deps

// WithMCP speaks the Model Context Protocol by what open returns, where the
// configuration turns it on. Without it such a configuration is an error: not every
// program links the protocol's SDK.
func WithMCP(open func(MCPDeps) http.Handler) Option { return func(o *options) { o.mcp = open } }

// FileBucketConfig is the section files.bucket.
type FileBucketConfig = files.BucketConfig

// FileContents keeps the bytes of files.
type FileContents = files.Contents

// WithFileBucket keeps files in what open returns, where the configuration names a
// bucket. Without it such a configuration is an error: not every program links a client.
func WithFileBucket(open func(FileBucketConfig) (FileContents, error)) Option {
	return func(o *options) { o.bucket = open }
}

// FirewallConfig is the section waf.
type FirewallConfig = firewall.Config

// FirewallEngine judges requests by a rule set.
type FirewallEngine = firewall.Engine

// WithFirewall judges requests by the rules that open compiles, where the
// configuration turns the firewall on. Without it such a configuration is an error:
// not every program links a rule set.
func WithFirewall(open func(FirewallConfig) (FirewallEngine, error)) Option {
	return func(o *options) { o.rules = open }
}

func newOptions(opts []Option) options {
	o := options{version: "dev", clock: clock.Real(), ids: ids.UUIDv7()}
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

// WithReadiness adds the edge's checks to r.
func WithReadiness(r *health.Readiness) Option { return func(o *options) { o.readiness = r } }

// WithDiscovery finds the other services, and registers this one, in b.
func WithDiscovery(b backend.Backend) Option { return func(o *options) { o.discovery = b } }

// WithInferenceConn reaches the inference service through conn. The edge adds
// the caller's identity, the deadline and the trace to its calls.
func WithInferenceConn(conn grpc.ClientConnInterface) Option {
	return func(o *options) { o.inference = conn }
}

// WithSearchConn reaches the search service through conn.
func WithSearchConn(conn grpc.ClientConnInterface) Option {
	return func(o *options) { o.search = conn }
}

// WithRegistryConn reaches the registry through conn.
func WithRegistryConn(conn grpc.ClientConnInterface) Option {
	return func(o *options) { o.registry = conn }
}
