package registry

import (
	"fmt"
	"path/filepath"
	"regexp"
	"time"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
	"github.com/poterne/poterne/services/registry/internal/artifact"
	"github.com/poterne/poterne/services/registry/internal/webhook"
)

// ServiceName is the service's name in discovery.
const ServiceName = "poterne-registry"

// Config is the configuration of the registry.
type Config struct {
	GRPC      grpcserver.Config `yaml:"grpc"`
	Telemetry telemetry.Config  `yaml:"telemetry"`
	Discovery backend.Config    `yaml:"discovery"`
	// Transport says whether anything may be in the clear.
	Transport tlsfiles.Requirement `yaml:"security"`
	Identity  Identity             `yaml:"identity"`
	Store     sqldb.Config         `yaml:"store"`
	Watch     Watch                `yaml:"watch"`
	Webhooks  Webhooks             `yaml:"webhooks"`
	Aliases   Aliases              `yaml:"aliases"`
	Limits    Limits               `yaml:"limits"`
	Deleted   Deleted              `yaml:"deleted"`
	Sources   Sources              `yaml:"sources"`
	// Signatures says whether versions may serve that nobody has signed. Inference
	// and workers have the same section, and look for themselves.
	Signatures signing.Config  `yaml:"signatures"`
	Rollouts   Rollouts        `yaml:"rollouts"`
	Artifacts  artifact.Config `yaml:"artifacts"`
	// DrainTimeout is how long requests in hand may take once the process is
	// asked to end.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// Sources says which models, as other tools left them, are read to learn their
// hashes.
type Sources struct {
	// Roots are absolute directories below which callers may have models read: they
	// learn what lies there. None, the default, lets nothing be read.
	Roots []string `yaml:"roots"`
	// MaxBytes bounds one file.
	MaxBytes config.Bytes `yaml:"max_bytes"`
}

// Identity says what is asked of callers.
type Identity struct {
	// Required refuses calls that do not say on whose behalf they are made,
	// except Watch, which services make on their own. Whoever made a change is
	// in the record of changes in any case, when known.
	Required bool `yaml:"required"`
	// PlatformTenant is the tenant whose callers see the models of all tenants, as
	// the edge's security.authz.platform_tenant.
	PlatformTenant string `yaml:"platform_tenant"`
	// Keys has the settings trusted_keys and so on, of how callers are proven.
	Keys assertion.Config `yaml:",inline"`
}

// Deleted says what becomes of models and versions that were deleted.
type Deleted struct {
	// Keep is for how long they can be restored; 0: not at all.
	Keep time.Duration `yaml:"keep"`
	// PurgeInterval is the time between two looks for what can go for good.
	PurgeInterval time.Duration `yaml:"purge_interval"`
}

// keep is Keep as the store takes it.
func (d Deleted) keep() time.Duration {
	if d.Keep == 0 {
		return -1
	}
	return d.Keep
}

// Watch says how changes reach the consumers.
type Watch struct {
	// PollInterval is the time between two looks at the store when nobody tells
	// of a commit: how late the commits of other replicas are seen at most.
	PollInterval time.Duration `yaml:"poll_interval"`
	// Heartbeat is after how long without a change a stream says that it is
	// alive.
	Heartbeat time.Duration `yaml:"heartbeat"`
	// KeepChanges is how many changes a consumer may be behind; one that is
	// further behind is given everything anew.
	KeepChanges int64 `yaml:"keep_changes"`
}

// Webhooks says how messages to webhooks are delivered.
type Webhooks struct {
	// Timeout bounds one try, from dialling to the end of the answer.
	Timeout time.Duration `yaml:"timeout"`
	// Attempts is after how many tries a message is given up. The pauses between
	// them grow up to six hours: ten tries take 20 hours.
	Attempts int `yaml:"attempts"`
	// AllowAddresses are address ranges, such as 10.0.0.0/8, that are sent to though
	// they are not public. Of the others that are not, none is.
	AllowAddresses []string `yaml:"allow_addresses"`
	// MaxPending is how many messages may wait for one webhook. Past it events are
	// only counted.
	MaxPending int64 `yaml:"max_pending"`
	// KeepDeliveries is how many delivered messages of one webhook are kept to look
	// at, and how many that were given up.
	KeepDeliveries int64 `yaml:"keep_deliveries"`
	// LeaseBeat is how often the replica that delivers says that it is alive. When
	// it is silent for five beats another takes over.
	LeaseBeat time.Duration `yaml:"lease_beat"`
}

// Aliases says which changes of aliases need an approval.
type Aliases struct {
	// Protected are names of aliases, such as production, and patterns in which
	// `*` stands for any characters: whatever the model, such an alias changes
	// only when another subject approves it. None by default, since whoever is
	// alone could change nothing; models may have more of their own.
	Protected []string `yaml:"protected"`
	// ApprovalTime is how long a change waits for its approval.
	ApprovalTime time.Duration `yaml:"approval_time"`
}

// protectedPattern is what may protect an alias.
var protectedPattern = regexp.MustCompile(`^[a-z*][a-z0-9*._-]{0,62}$`)

func (a Aliases) validate(p *config.Problems) {
	p.Check(len(a.Protected) <= 32, "aliases.protected", "must be at most 32, got %d", len(a.Protected))
	for i, pattern := range a.Protected {
		p.Check(protectedPattern.MatchString(pattern), fmt.Sprintf("aliases.protected[%d]", i),
			"must be an alias's name, in which * stands for any characters, got %q", pattern)
	}
	p.Check(a.ApprovalTime >= time.Minute && a.ApprovalTime <= 366*24*time.Hour, "aliases.approval_time",
		"must be from 1m to 366 days, got %v", a.ApprovalTime)
}

// Rollouts says how rollouts are looked after.
type Rollouts struct {
	// Period is the time between two looks at what requests came to: how late a
	// broken guardrail is acted on at most.
	Period time.Duration `yaml:"period"`
	// Lease is how long the other replicas wait for a sign of life of the one that
	// looks after the rollouts before another goes on.
	Lease time.Duration `yaml:"lease"`
}

// Limits bound what the registry holds.
type Limits struct {
	// Models bounds the models, AliasesPerModel the aliases of each.
	Models          int `yaml:"models"`
	AliasesPerModel int `yaml:"aliases_per_model"`
	// ModelBytes bounds the versions of one model that consumers are sent, with
	// their variants, encoded: all of it travels in one message, for which they need
	// room. The oldest versions that nothing needs are left out.
	ModelBytes config.Bytes `yaml:"model_bytes"`
	// Watchers bounds the open watch streams.
	Watchers int `yaml:"watchers"`
}

// DefaultConfig returns the defaults of a process of its own: SQLite in the
// working directory.
func DefaultConfig() *Config {
	cfg := &Config{
		GRPC:      grpcserver.DefaultConfig("127.0.0.1:9091"),
		Telemetry: telemetry.DefaultConfig("127.0.0.1:9101"),
		Discovery: backend.DefaultConfig(),
		Store:     sqldb.DefaultConfig("sqlite:registry.db"),
		Watch:     Watch{PollInterval: time.Second, Heartbeat: 2 * time.Second, KeepChanges: 10_000},
		Webhooks: Webhooks{
			Timeout: 15 * time.Second, Attempts: 10, MaxPending: 10_000, KeepDeliveries: 500, LeaseBeat: 2 * time.Second,
		},
		Aliases: Aliases{ApprovalTime: 7 * 24 * time.Hour},
		Limits: Limits{
			Models: 10_000, AliasesPerModel: 256, ModelBytes: 3 * config.MiB, Watchers: 1000,
		},
		Identity:     Identity{PlatformTenant: "default", Keys: assertion.DefaultConfig()},
		Sources:      Sources{MaxBytes: 256 * config.GiB},
		Deleted:      Deleted{Keep: 30 * 24 * time.Hour, PurgeInterval: time.Minute},
		Rollouts:     Rollouts{Period: time.Second, Lease: 5 * time.Second},
		Artifacts:    artifact.DefaultConfig(),
		DrainTimeout: 20 * time.Second,
	}
	// Changes are few, and what was acknowledged must survive a power cut.
	cfg.Store.Sync = sqldb.SyncFull
	return cfg
}

// Complete checks the configuration. The error lists every problem.
func (c *Config) Complete() error {
	var p config.Problems
	c.GRPC.Validate(&p, "grpc")
	c.Telemetry.Validate(&p, "telemetry")
	c.Discovery.Validate(&p, "discovery")
	c.Identity.Keys.Validate(&p, "identity", identityEnds())
	c.Transport.Validate(&p, c.Telemetry.OpsAddr, map[string]tlsfiles.Config{"grpc.tls": c.GRPC.TLS})
	c.Store.Validate(&p, "store")

	for _, root := range c.Sources.Roots {
		p.Check(filepath.IsAbs(root), "sources.roots", "must be absolute, got %q", root)
	}
	p.Check(c.Sources.MaxBytes >= 1, "sources.max_bytes", "must be positive, got %v", c.Sources.MaxBytes)
	p.Check(c.Watch.PollInterval >= 10*time.Millisecond && c.Watch.PollInterval <= time.Minute, "watch.poll_interval",
		"must be from 10ms to 1m, got %v", c.Watch.PollInterval)
	p.Check(c.Watch.Heartbeat >= 100*time.Millisecond && c.Watch.Heartbeat <= 5*time.Second, "watch.heartbeat",
		"must be from 100ms to 5s, which consumers rely on, got %v", c.Watch.Heartbeat)
	p.Check(c.Watch.KeepChanges >= 1, "watch.keep_changes", "must be positive, got %d", c.Watch.KeepChanges)

	c.Webhooks.validate(&p)
	c.Aliases.validate(&p)

	p.Check(c.Limits.Models >= 1, "limits.models", "must be positive, got %d", c.Limits.Models)
	p.Check(c.Limits.AliasesPerModel >= 1 && c.Limits.AliasesPerModel <= 1024, "limits.aliases_per_model",
		"must be from 1 to 1024, got %d", c.Limits.AliasesPerModel)
	p.Check(c.Limits.ModelBytes >= 4*config.KiB, "limits.model_bytes", "must be at least 4KiB, got %v", c.Limits.ModelBytes)
	p.Check(c.Limits.ModelBytes <= c.GRPC.MaxSendBytes-config.MiB, "limits.model_bytes",
		"must leave 1MiB of grpc.max_send_bytes, got %v of %v", c.Limits.ModelBytes, c.GRPC.MaxSendBytes)
	p.Check(c.Limits.Watchers >= 1, "limits.watchers", "must be positive, got %d", c.Limits.Watchers)
	c.Signatures.Validate(&p, "signatures")
	p.Check(c.Deleted.Keep >= 0 && c.Deleted.Keep <= 10*365*24*time.Hour, "deleted.keep", "must be from 0 to ten years, got %v", c.Deleted.Keep)
	p.Check(c.Deleted.PurgeInterval >= time.Second && c.Deleted.PurgeInterval <= 24*time.Hour, "deleted.purge_interval",
		"must be from 1s to 24h, got %v", c.Deleted.PurgeInterval)
	p.Check(c.Rollouts.Period >= 50*time.Millisecond && c.Rollouts.Period <= time.Minute, "rollouts.period",
		"must be from 50ms to 1m, got %v", c.Rollouts.Period)
	p.Check(c.Rollouts.Lease >= 2*c.Rollouts.Period && c.Rollouts.Lease <= 10*time.Minute, "rollouts.lease",
		"must be at least twice rollouts.period, and at most 10m, got %v", c.Rollouts.Lease)
	c.Artifacts.Validate(&p, "artifacts")
	p.Check(c.DrainTimeout > 0, "drain_timeout", "must be positive, got %v", c.DrainTimeout)
	return p.Err()
}

func (w Webhooks) validate(p *config.Problems) {
	p.Check(w.Timeout >= time.Second && w.Timeout <= time.Minute, "webhooks.timeout", "must be from 1s to 1m, got %v", w.Timeout)
	p.Check(w.Attempts >= 1 && w.Attempts <= 20, "webhooks.attempts", "must be from 1 to 20, got %d", w.Attempts)
	if _, err := webhook.ParsePrefixes(w.AllowAddresses); err != nil {
		p.Check(false, "webhooks.allow_addresses", "%v", err)
	}
	p.Check(w.MaxPending >= 1 && w.MaxPending <= 1_000_000, "webhooks.max_pending", "must be from 1 to 1000000, got %d", w.MaxPending)
	p.Check(w.KeepDeliveries >= 1 && w.KeepDeliveries <= 100_000, "webhooks.keep_deliveries",
		"must be from 1 to 100000, got %d", w.KeepDeliveries)
	p.Check(w.LeaseBeat >= 100*time.Millisecond && w.LeaseBeat <= time.Minute, "webhooks.lease_beat",
		"must be from 100ms to 1m, got %v", w.LeaseBeat)
}
