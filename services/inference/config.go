package inference

import (
	"time"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
	"github.com/poterne/poterne/services/inference/internal/placement"
	"github.com/poterne/poterne/services/inference/internal/poison"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/schedule"
	"github.com/poterne/poterne/services/inference/internal/sticky"
)

// The names of the services in discovery.
const (
	// ServiceName is this service's own.
	ServiceName = "poterne-inference"
	// RegistryName is the registry's.
	RegistryName = "poterne-registry"
	// WorkerName is the workers'.
	WorkerName = "poterne-worker"
)

// Config is the configuration of the inference service.
type Config struct {
	GRPC      grpcserver.Config `yaml:"grpc"`
	Telemetry telemetry.Config  `yaml:"telemetry"`
	Discovery backend.Config    `yaml:"discovery"`
	// Transport says whether anything may be in the clear.
	Transport tlsfiles.Requirement `yaml:"security"`
	Identity  Identity             `yaml:"identity"`
	Registry  Registry             `yaml:"registry"`
	// Signatures says whether versions may serve that nobody has signed.
	Signatures signing.Config `yaml:"signatures"`
	Workers    Workers        `yaml:"workers"`
	Placement  Placement      `yaml:"placement"`
	Routing    Routing        `yaml:"routing"`
	Queue      Queue          `yaml:"queue"`
	Poison     poison.Config  `yaml:"poison"`
	Quantize   Quantize       `yaml:"quantize"`
	Shadow     Shadow         `yaml:"shadow"`
	Outcomes   Outcomes       `yaml:"outcomes"`
	// DrainTimeout is how long requests in hand may take once the process is
	// asked to end.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// Identity says what is asked of callers.
type Identity struct {
	// Required refuses calls that do not say on whose behalf they are made.
	Required bool `yaml:"required"`
	// PlatformTenant is the tenant whose callers see the models of all tenants, as
	// the edge's security.authz.platform_tenant.
	PlatformTenant string `yaml:"platform_tenant"`
	// Keys has the settings signing_key_file, trusted_keys and so on, of how callers
	// are proven.
	Keys assertion.Config `yaml:",inline"`
}

// Registry says how the registry is followed.
type Registry struct {
	// TLS says how it is connected to.
	TLS tlsfiles.Config `yaml:"tls"`
	// SnapshotFile keeps the registry's last state for a start while the
	// registry is away. Empty keeps nothing.
	SnapshotFile string `yaml:"snapshot_file"`
	// SilenceTimeout is how long the watch stream may bring nothing; the
	// registry sends something every five seconds.
	SilenceTimeout time.Duration `yaml:"silence_timeout"`
	// BackoffBase and BackoffMax bound the pause after a failure.
	BackoffBase time.Duration `yaml:"backoff_base"`
	BackoffMax  time.Duration `yaml:"backoff_max"`
}

// Workers says how workers are followed.
type Workers struct {
	// TLS says how they are connected to.
	TLS tlsfiles.Config `yaml:"tls"`
	// StaleAfter is how old a worker's last state may be; it sends one every
	// second. A worker that is silent for longer gets no new requests.
	StaleAfter time.Duration `yaml:"stale_after"`
	// Max bounds how many workers are followed.
	Max int `yaml:"max"`
	// MaxRecvBytes bounds one answer, or one chunk, of a worker.
	MaxRecvBytes config.Bytes `yaml:"max_recv_bytes"`
	// BackoffBase and BackoffMax bound the pause after a failure.
	BackoffBase time.Duration `yaml:"backoff_base"`
	BackoffMax  time.Duration `yaml:"backoff_max"`
}

// Placement says where versions are loaded.
type Placement struct {
	// Replicas is how many workers shall have each version that serves, whatever is
	// asked of it, where Models does not say. 0 loads a version when it is asked for.
	Replicas int `yaml:"replicas"`
	// MaxReplicas is how many workers shall have it at most when much is asked of
	// it; never fewer than Replicas.
	MaxReplicas int `yaml:"max_replicas"`
	// TargetUtilization is which share of a version's slots should be in use: more
	// copies are loaded above it, fewer suffice below.
	TargetUtilization float64 `yaml:"target_utilization"`
	// IdleUnload is how long fewer copies must have been enough for one above
	// Replicas to be unloaded; 0 is never.
	IdleUnload time.Duration `yaml:"idle_unload"`
	// WarmUp has a small request run before a copy counts as ready.
	WarmUp bool `yaml:"warm_up"`
	// Models says otherwise for some models, by name. Labels of a model in the
	// registry may say the same (docs/placement.md); what stands here goes before.
	Models map[string]placement.Override `yaml:"models"`
	// Stagger is the longest time that a load is held back, by chance, so that
	// replicas that plan it at the same time see it begun by one of them.
	Stagger time.Duration `yaml:"stagger"`
	// JoinDelay is how long at most a worker that came or came back must have been
	// connected to be asked to load something, so that all replicas see it; after a
	// short absence it is less. It should be above workers.backoff_max.
	JoinDelay time.Duration `yaml:"join_delay"`
	// Interval is the longest time between two looks at what is missing.
	Interval time.Duration `yaml:"interval"`
	// AbsentGrace and FailedGrace are how long a version counts as held while
	// its worker is away, or its engine fails.
	AbsentGrace time.Duration `yaml:"absent_grace"`
	FailedGrace time.Duration `yaml:"failed_grace"`
	// UnloadAfter is how long no name must lead to a version before it is
	// unloaded, and MinLoaded how long it must have been loaded.
	UnloadAfter time.Duration `yaml:"unload_after"`
	MinLoaded   time.Duration `yaml:"min_loaded"`
	// BackoffBase and BackoffMax bound the pause after a worker's refusal.
	BackoffBase time.Duration `yaml:"backoff_base"`
	BackoffMax  time.Duration `yaml:"backoff_max"`
}

// Routing says how requests find workers.
type Routing struct {
	// MaxAttempts is how many engines a request may be tried on, each once; one that
	// was started again is another.
	MaxAttempts int `yaml:"max_attempts"`
	// WaitForReady is how long a request waits for a version that is being loaded, or
	// whose engine is started again; and MaxWaiters how many requests may wait at once.
	WaitForReady time.Duration `yaml:"wait_for_ready"`
	MaxWaiters   int           `yaml:"max_waiters"`
	// Timeout is the deadline of a request that has none.
	Timeout time.Duration `yaml:"timeout"`
	// Policy decides which worker gets a request: scored, least_load or
	// round_robin.
	Policy string `yaml:"policy"`
	// Score weighs what policy scored adds up, all in seconds: 1 is natural and 0
	// turns a term off.
	Score Score `yaml:"score"`
	// PrefixBlocks is how many blocks of 256 bytes of prompts are remembered, at
	// about 80 bytes each.
	PrefixBlocks int `yaml:"prefix_blocks"`
	// SessionBalance is how far above its part of the load a worker may be and still be
	// the home of a session: 1.25 is a quarter.
	SessionBalance float64 `yaml:"session_balance"`
}

// Quantize says how weights are quantised.
type Quantize struct {
	// Timeout bounds the making of one variant, its measuring included.
	Timeout time.Duration `yaml:"timeout"`
}

// Outcomes says how what requests came to is counted for the registry.
type Outcomes struct {
	// SpoolDir is the directory in which batches wait for the registry: this
	// process's own. Empty keeps them in memory, where they go with the process.
	SpoolDir string `yaml:"spool_dir"`
	// SpoolBytes bounds what waits. Beyond it requests are not counted, and that is
	// counted.
	SpoolBytes config.Bytes `yaml:"spool_bytes"`
	// Interval is the time between two batches: what a crash may lose.
	Interval time.Duration `yaml:"interval"`
	// Segments names the segments of tenants, by tenant, for results by segment; at
	// most 32 names. Tenants that are not here have none.
	Segments map[string]string `yaml:"segments"`
}

// DefaultConfig returns the defaults of a process of its own.
func DefaultConfig() *Config {
	cfg := &Config{
		GRPC:      grpcserver.DefaultConfig("127.0.0.1:9093"),
		Telemetry: telemetry.DefaultConfig("127.0.0.1:9103"),
		Discovery: backend.DefaultConfig(),
		Identity:  Identity{Required: true, PlatformTenant: "default", Keys: assertion.DefaultConfig()},
		Registry: Registry{
			TLS:            tlsfiles.DefaultConfig(),
			SilenceTimeout: 15 * time.Second, BackoffBase: 100 * time.Millisecond, BackoffMax: 5 * time.Second,
		},
		Workers: Workers{
			TLS:        tlsfiles.DefaultConfig(),
			StaleAfter: 5 * time.Second, Max: 256, MaxRecvBytes: 96 * config.MiB,
			BackoffBase: 50 * time.Millisecond, BackoffMax: time.Second,
		},
		Placement: Placement{
			Replicas: 2, MaxReplicas: 4, TargetUtilization: 0.7, IdleUnload: 15 * time.Minute, Stagger: 100 * time.Millisecond, JoinDelay: 2 * time.Second,
			Interval: time.Second, AbsentGrace: 15 * time.Second, FailedGrace: 30 * time.Second,
			UnloadAfter: 5 * time.Minute, MinLoaded: time.Minute,
			BackoffBase: time.Second, BackoffMax: time.Minute,
		},
		Routing: Routing{
			MaxAttempts: 3, WaitForReady: 10 * time.Second, MaxWaiters: 256, Timeout: 10 * time.Minute,
			Policy: PolicyScored, Score: Score(schedule.DefaultTerms()), PrefixBlocks: 1 << 18, SessionBalance: sticky.DefaultBalance,
		},
		Queue: Queue{
			MaxRequests: 4096, MaxBytes: 256 * config.MiB,
			MaxWait:    MaxWait{Interactive: 30 * time.Second, Standard: time.Minute, Batch: 10 * time.Minute},
			Overcommit: 0.125, BatchShare: 0.75, BatchGrace: 30 * time.Second, InputWeight: 1, OutputWeight: 2,
		},
		Poison:       poison.Config{Engines: 2, Among: 3, For: 10 * time.Minute, Max: 4096},
		Quantize:     Quantize{Timeout: 6 * time.Hour},
		Shadow:       Shadow{MaxInFlight: 16, Timeout: 2 * time.Minute},
		Outcomes:     Outcomes{SpoolBytes: 64 * config.MiB, Interval: time.Second},
		DrainTimeout: 30 * time.Second,
	}
	// A request's body has up to 16 MiB, and an answer may be many vectors.
	cfg.GRPC.MaxRecvBytes = 20 * config.MiB
	cfg.GRPC.MaxSendBytes = 96 * config.MiB
	return cfg
}

// Complete checks the configuration. The error lists every problem.
func (c *Config) Complete() error {
	var p config.Problems
	c.GRPC.Validate(&p, "grpc")
	c.Telemetry.Validate(&p, "telemetry")
	c.Discovery.Validate(&p, "discovery")
	c.Registry.TLS.Validate(&p, "registry.tls")
	c.Workers.TLS.Validate(&p, "workers.tls")
	c.Transport.Validate(&p, c.Telemetry.OpsAddr, map[string]tlsfiles.Config{
		"grpc.tls": c.GRPC.TLS, "registry.tls": c.Registry.TLS, "workers.tls": c.Workers.TLS,
	})
	c.Signatures.Validate(&p, "signatures")
	c.Identity.Keys.Validate(&p, "identity", identityEnds())
	positive := func(path string, d time.Duration) { p.Check(d > 0, path, "must be positive, got %v", d) }
	backoffs := func(path string, base, limit time.Duration) {
		positive(path+".backoff_base", base)
		p.Check(limit >= base, path+".backoff_max", "must not be less than backoff_base, got %v", limit)
	}

	p.Check(c.Registry.SilenceTimeout > 5*time.Second, "registry.silence_timeout",
		"must be above 5s, the time between two heartbeats, got %v", c.Registry.SilenceTimeout)
	backoffs("registry", c.Registry.BackoffBase, c.Registry.BackoffMax)

	p.Check(c.Workers.StaleAfter > time.Second, "workers.stale_after",
		"must be above 1s, the time between two states, got %v", c.Workers.StaleAfter)
	p.Check(c.Workers.Max > 0 && c.Workers.Max <= 10_000, "workers.max", "must be from 1 to 10000, got %d", c.Workers.Max)
	p.Check(c.Workers.MaxRecvBytes >= config.MiB, "workers.max_recv_bytes", "must be at least 1MiB, got %v", c.Workers.MaxRecvBytes)
	backoffs("workers", c.Workers.BackoffBase, c.Workers.BackoffMax)

	c.Placement.validate(&p, "placement")
	p.Check(c.Placement.JoinDelay >= 0, "placement.join_delay", "must not be negative, got %v", c.Placement.JoinDelay)
	p.Check(c.Poison.Engines >= 0, "poison.engines", "must not be negative, got %d", c.Poison.Engines)
	p.Check(c.Poison.Among >= 0, "poison.among", "must not be negative, got %d", c.Poison.Among)
	positive("poison.for", c.Poison.For)
	p.Check(c.Poison.Max > 0 && c.Poison.Max <= 1<<20, "poison.max", "must be from 1 to %d, got %d", 1<<20, c.Poison.Max)
	positive("placement.interval", c.Placement.Interval)
	positive("placement.unload_after", c.Placement.UnloadAfter)
	p.Check(c.Placement.AbsentGrace >= 0, "placement.absent_grace", "must not be negative, got %v", c.Placement.AbsentGrace)
	p.Check(c.Placement.FailedGrace >= 0, "placement.failed_grace", "must not be negative, got %v", c.Placement.FailedGrace)
	p.Check(c.Placement.MinLoaded >= 0, "placement.min_loaded", "must not be negative, got %v", c.Placement.MinLoaded)
	backoffs("placement", c.Placement.BackoffBase, c.Placement.BackoffMax)

	p.Check(c.Routing.MaxAttempts >= 1 && c.Routing.MaxAttempts <= routing.MaxAttempts, "routing.max_attempts",
		"must be from 1 to %d, got %d", routing.MaxAttempts, c.Routing.MaxAttempts)
	p.Check(c.Routing.MaxWaiters >= 0, "routing.max_waiters", "must not be negative, got %d", c.Routing.MaxWaiters)
	positive("routing.wait_for_ready", c.Routing.WaitForReady)
	positive("routing.timeout", c.Routing.Timeout)
	positive("quantize.timeout", c.Quantize.Timeout)
	positive("drain_timeout", c.DrainTimeout)
	c.Outcomes.validate(&p)
	c.Routing.validate(&p)
	c.Queue.validate(&p)
	c.Shadow.validate(&p)
	return p.Err()
}
