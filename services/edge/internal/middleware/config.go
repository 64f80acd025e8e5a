package middleware

import (
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/config"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/edge/internal/clientaddr"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/limitrule"
)

// Config is the section "limits".
type Config struct {
	// RequestsPerMinute is what a key may have that names no limit of its own.
	RequestsPerMinute int `yaml:"requests_per_minute"`
	// Address is the limit by client address.
	Address AddressConfig `yaml:"address"`
	// TrustedProxies are the networks (CIDR) of proxies that are believed to say whom
	// they serve.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// ForwardedHeader is the one header in which they do: x-forwarded-for, or
	// forwarded (RFC 7239). The other one is never looked at.
	ForwardedHeader string `yaml:"forwarded_header"`
	// Deadlines bound the time of a request.
	Deadlines Deadlines `yaml:"deadlines"`
	// Redis is where replicas share their limits; none when its addr is empty.
	Redis limit.RedisConfig `yaml:"redis"`
	// MaxBuckets is how many buckets of keys and rules each replica remembers.
	MaxBuckets int `yaml:"max_buckets"`
	// Rules are the platform's limits. One that is kept at run time under the same
	// name takes the place of one of these.
	Rules []limitrule.Rule `yaml:"rules"`
}

// AddressConfig bounds the requests of one client address (for IPv6, of one
// /64), before these are authenticated. Each replica counts alone.
type AddressConfig struct {
	// RequestsPerMinute is how many requests, which may come at once; 0: no limit.
	RequestsPerMinute int `yaml:"requests_per_minute"`
	// FailureCost is what refused credentials cost besides the request itself,
	// also when less is left: an address can guess about RequestsPerMinute /
	// FailureCost times a minute, and is then refused whatever it shows.
	FailureCost int `yaml:"failure_cost"`
	// MaxAddresses is how many addresses are remembered.
	MaxAddresses int `yaml:"max_addresses"`
}

func (c AddressConfig) limit() limit.Limit { return limit.PerMinute(c.RequestsPerMinute) }

// Deadlines is the longest time of a request, by its class.
type Deadlines struct {
	// Default is for reading, writing and searching.
	Default time.Duration `yaml:"default"`
	// Embed is for embeddings.
	Embed time.Duration `yaml:"embed"`
	// Write is for changes, batches of documents among them.
	Write time.Duration `yaml:"write"`
	// Generate is for chat and completions, streams included.
	Generate time.Duration `yaml:"generate"`
	// Infer is for tensors, streams included.
	Infer time.Duration `yaml:"infer"`
	// Quantize is for the making of a variant, which is a write that may take hours.
	Quantize time.Duration `yaml:"quantize"`
	// Import is for streams of documents, which go on elsewhere when it is over.
	Import time.Duration `yaml:"import"`
	// Backup is for the backup of a collection and its restoring, and for the archive
	// of the registry.
	Backup time.Duration `yaml:"backup"`
	// Upload is for appending to an upload, which goes on elsewhere when it is over.
	Upload time.Duration `yaml:"upload"`
	// Watch is for streams about the gateway itself: health and reflection. They
	// need no credentials; a watcher opens the next one, as gRPC's own does.
	Watch time.Duration `yaml:"watch"`
}

func (d Deadlines) of(method string, c limit.Class) time.Duration {
	switch method {
	case edgev1.AdminService_QuantizeModel_FullMethodName:
		return d.Quantize
	case searchv1.SearchService_ImportDocuments_FullMethodName:
		return d.Import
	case searchv1.SearchService_BackupCollection_FullMethodName, searchv1.SearchService_RestoreCollection_FullMethodName:
		return d.Backup
	case registryv1.RegistryService_ExportArchive_FullMethodName, registryv1.RegistryService_ImportArchive_FullMethodName:
		return d.Backup
	case registryv1.ArtifactService_AppendUpload_FullMethodName, edgev1.FileService_UploadFile_FullMethodName:
		return d.Upload
	}
	switch c {
	case limit.Generate:
		return d.Generate
	case limit.Embed:
		return d.Embed
	case limit.Infer:
		return d.Infer
	case limit.Write:
		return d.Write
	case limit.Free:
		return d.Watch
	case limit.Read, limit.Search:
		return d.Default
	default:
		return d.Default
	}
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		RequestsPerMinute: 600,
		Address:           AddressConfig{RequestsPerMinute: 600_000, FailureCost: 1000, MaxAddresses: 65536},
		ForwardedHeader:   clientaddr.XForwardedFor,
		Deadlines: Deadlines{
			Default: time.Minute, Embed: 2 * time.Minute, Write: 5 * time.Minute,
			Generate: 10 * time.Minute, Infer: 10 * time.Minute, Quantize: 6 * time.Hour, Import: 6 * time.Hour, Backup: 6 * time.Hour, Upload: 6 * time.Hour, Watch: time.Hour,
		},
		Redis: limit.DefaultRedisConfig(), MaxBuckets: 65536,
	}
}

// Proxies returns TrustedProxies as networks; Validate has looked at them.
func (c Config) Proxies() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range c.TrustedProxies {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, err
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.RequestsPerMinute >= 1 && c.RequestsPerMinute <= 1_000_000, prefix+".requests_per_minute",
		"must be from 1 to 1000000, got %d", c.RequestsPerMinute)
	a := c.Address
	p.Check(a.RequestsPerMinute >= 0, prefix+".address.requests_per_minute", "must not be negative, got %d", a.RequestsPerMinute)
	p.Check(a.FailureCost >= 0 && (a.RequestsPerMinute == 0 || a.FailureCost <= a.RequestsPerMinute), prefix+".address.failure_cost",
		"must be from 0 to address.requests_per_minute, got %d", a.FailureCost)
	p.Check(a.MaxAddresses >= 1 && a.MaxAddresses <= 1<<22, prefix+".address.max_addresses",
		"must be from 1 to 4194304, got %d", a.MaxAddresses)
	for _, s := range c.TrustedProxies {
		_, err := netip.ParsePrefix(s)
		p.Check(err == nil, prefix+".trusted_proxies", "%q is not a network such as 10.0.0.0/8", s)
	}
	p.Check(c.ForwardedHeader == clientaddr.XForwardedFor || c.ForwardedHeader == clientaddr.Forwarded, prefix+".forwarded_header",
		"must be %s or %s, got %q", clientaddr.XForwardedFor, clientaddr.Forwarded, c.ForwardedHeader)
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"default", c.Deadlines.Default},
		{"embed", c.Deadlines.Embed},
		{"write", c.Deadlines.Write},
		{"generate", c.Deadlines.Generate},
		{"infer", c.Deadlines.Infer},
		{"quantize", c.Deadlines.Quantize},
		{"import", c.Deadlines.Import},
		{"backup", c.Deadlines.Backup},
		{"upload", c.Deadlines.Upload},
		{"watch", c.Deadlines.Watch},
	} {
		p.Check(d.value > 0, prefix+".deadlines."+d.key, "must be positive, got %v", d.value)
	}
	c.Redis.Validate(p, prefix+".redis")
	p.Check(c.MaxBuckets >= 1 && c.MaxBuckets <= 1<<22, prefix+".max_buckets", "must be from 1 to 4194304, got %d", c.MaxBuckets)
	c.validateRules(p, prefix+".rules")
}

// Complete fills in what rules leave out.
func (c *Config) Complete() {
	for i := range c.Rules {
		c.Rules[i].Complete()
	}
}

func (c Config) validateRules(p *config.Problems, prefix string) {
	p.Check(len(c.Rules) <= limitrule.MaxRules, prefix, "must be at most %d, got %d", limitrule.MaxRules, len(c.Rules))
	for i, r := range c.Rules {
		at := prefix + "[" + strconv.Itoa(i) + "]"
		for _, problem := range r.Check(false) {
			p.Check(false, at+"."+problem.Field, "%s", problem.Text)
		}
		p.Check(!slices.ContainsFunc(c.Rules[:i], func(o limitrule.Rule) bool { return o.Name == r.Name }), at+".name",
			"there is another rule %q", r.Name)
	}
}
