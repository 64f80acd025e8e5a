package edge

import (
	"path/filepath"
	"time"

	"github.com/poterne/poterne/pkg/assertion"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery/backend"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
	"github.com/poterne/poterne/services/edge/internal/batches"
	"github.com/poterne/poterne/services/edge/internal/contextbuilder"
	"github.com/poterne/poterne/services/edge/internal/conversation"
	"github.com/poterne/poterne/services/edge/internal/detect"
	"github.com/poterne/poterne/services/edge/internal/files"
	"github.com/poterne/poterne/services/edge/internal/gateway"
	"github.com/poterne/poterne/services/edge/internal/mcphttp"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/openai"
	"github.com/poterne/poterne/services/edge/internal/overload"
	"github.com/poterne/poterne/services/edge/internal/responses"
	"github.com/poterne/poterne/services/edge/internal/security"
	"github.com/poterne/poterne/services/edge/internal/tensor"
)

// The names of the services in discovery.
const (
	// ServiceName is this service's own.
	ServiceName = "poterne-edge"
	// InferenceName, SearchName and RegistryName are the backends'.
	InferenceName = "poterne-inference"
	SearchName    = "poterne-search"
	RegistryName  = "poterne-registry"
)

// AdminKeyFile is the name, in the data directory, of the file that the first
// key is written to.
const AdminKeyFile = security.AdminKeyFile

// TokensConfig is the section tokens.
type TokensConfig = security.TokensConfig

// TokenIssuer is an issuer of tokens that is trusted.
type TokenIssuer = oidc.IssuerConfig

// AnyTenant lets an issuer that has it among its tenants speak for every one.
const AnyTenant = oidc.AnyTenant

// DetectorRule is one of detectors.rules.
type DetectorRule = detect.Rule

// DetectorSide is which way the texts go that such a rule is about.
type DetectorSide = detect.Side

// Config is the configuration of the edge.
type Config struct {
	// DataDir is where the edge keeps files: the first key and, unless store.dsn
	// says otherwise, its database.
	DataDir   string            `yaml:"data_dir"`
	HTTP      gateway.Config    `yaml:"http"`
	GRPC      grpcserver.Config `yaml:"grpc"`
	Telemetry telemetry.Config  `yaml:"telemetry"`
	Discovery backend.Config    `yaml:"discovery"`
	// Transport says whether anything may be in the clear.
	Transport tlsfiles.Requirement `yaml:"security"`
	// Security has the sections store, api_keys, tokens, authz, limits, audit and login.
	Security security.Config       `yaml:",inline"`
	Context  contextbuilder.Config `yaml:"context"`
	// Detectors says what texts to and from models are looked at for.
	Detectors detect.Config `yaml:"detectors"`
	OpenAI    openai.Config `yaml:"openai"`
	// Responses says how long responses are kept for those that go on from them.
	Responses responses.Config `yaml:"responses"`
	// Files and Batches are about requests that are answered when there is room.
	Files   files.Config   `yaml:"files"`
	Batches batches.Config `yaml:"batches"`
	// Conversations says which are remembered, where and for how long.
	Conversations conversation.Config `yaml:"conversations"`
	// MCP says whether the Model Context Protocol is spoken.
	MCP mcphttp.Config `yaml:"mcp"`
	// Tensors bounds requests of the Open Inference Protocol.
	Tensors   tensor.Limits     `yaml:"tensors"`
	Inference grpcclient.Config `yaml:"inference"`
	Search    grpcclient.Config `yaml:"search"`
	Registry  grpcclient.Config `yaml:"registry"`
	// Overload bounds how many requests are in hand at the models at once.
	Overload overload.Config `yaml:"overload"`
	// SearchOverload and RegistryOverload bound how many calls are in hand at those.
	SearchOverload   overload.Config `yaml:"search_overload"`
	RegistryOverload overload.Config `yaml:"registry_overload"`
	// Identity says how callers are proven to the services behind.
	Identity assertion.Config `yaml:"identity"`
	// ReadyInterval is how often the inference service is asked whether it could
	// serve a chat.
	ReadyInterval time.Duration `yaml:"ready_interval"`
	// DrainTimeout is how long requests in hand may take once the process is
	// asked to end.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// The largest messages that the inference service takes and gives: a request's
// body, and the vectors of one embedding request.
const (
	maxToInference   = 20 * config.MiB
	maxFromInference = 64 * config.MiB
)

// maxToSearch is the largest message that the search service takes: lines of an
// import, one of which may hold a whole file.
const maxToSearch = 20 * config.MiB

// DefaultConfig returns the defaults of a process of its own.
func DefaultConfig() *Config {
	cfg := &Config{
		DataDir:       ".poterne",
		HTTP:          gateway.DefaultConfig(),
		GRPC:          grpcserver.DefaultConfig("127.0.0.1:9090"),
		Telemetry:     telemetry.DefaultConfig("127.0.0.1:9100"),
		Discovery:     backend.DefaultConfig(),
		Security:      security.DefaultConfig(""),
		Context:       contextbuilder.DefaultConfig(),
		OpenAI:        openai.DefaultConfig(),
		Responses:     responses.DefaultConfig(),
		Files:         files.DefaultConfig(),
		Batches:       batches.DefaultConfig(),
		Conversations: conversation.DefaultConfig(),
		MCP:           mcphttp.DefaultConfig(),
		Tensors:       tensor.DefaultLimits(),
		Inference:     grpcclient.DefaultConfig(),
		Search:        grpcclient.DefaultConfig(),
		Registry:      grpcclient.DefaultConfig(),
		Overload:      overload.DefaultConfig(),
		Identity:      assertion.DefaultConfig(),
		ReadyInterval: time.Second,
		DrainTimeout:  30 * time.Second,
	}
	cfg.SearchOverload, cfg.RegistryOverload = overload.DefaultBackendConfig(), overload.DefaultBackendConfig()
	cfg.GRPC.MaxSendBytes = maxFromInference
	cfg.GRPC.MinReceiveRate, cfg.GRPC.MinSendRate = cfg.HTTP.MinBodyRate, cfg.HTTP.MinAnswerRate
	cfg.Search.MaxSendBytes = maxToSearch
	cfg.Inference.MaxSendBytes, cfg.Inference.MaxRecvBytes = maxToInference, maxFromInference
	return cfg
}

// Complete fills what follows from other settings and checks everything. The
// error lists every problem.
func (c *Config) Complete() error {
	if c.Security.Store.DSN == "" {
		c.Security.Store.DSN = config.SecretURL("sqlite:" + filepath.Join(c.DataDir, "edge.db"))
	}
	c.Security.Complete()
	c.completeTLS()
	c.Security.Tokens.CompleteIssue(c.HTTP.Addr)
	var p config.Problems
	p.Check(c.DataDir != "", "data_dir", "must not be empty")
	c.HTTP.Validate(&p, "http")
	c.GRPC.ValidateBounds(&p, "grpc")
	c.GRPC.TLS.ValidateOutside(&p, "grpc.tls", c.HTTP.TLS.On())
	c.validateTransport(&p)
	c.Telemetry.Validate(&p, "telemetry")
	c.Discovery.Validate(&p, "discovery")
	c.Security.Validate(&p, "")
	c.Context.Validate(&p, "context")
	c.Detectors.Validate(&p, "detectors")
	c.OpenAI.Validate(&p, "openai")
	c.Responses.Validate(&p, "responses")
	c.Files.Validate(&p, "files")
	c.Batches.Validate(&p, "batches")
	c.Conversations.Validate(&p, "conversations")
	c.MCP.Validate(&p, "mcp")
	c.Tensors.Validate(&p, "tensors")
	c.Inference.Validate(&p, "inference")
	c.Search.Validate(&p, "search")
	c.Registry.Validate(&p, "registry")
	c.Overload.Validate(&p, "overload")
	c.SearchOverload.Validate(&p, "search_overload")
	c.RegistryOverload.Validate(&p, "registry_overload")
	c.Identity.Validate(&p, "identity", identityEnds())
	p.Check(c.ReadyInterval >= 50*time.Millisecond && c.ReadyInterval <= time.Minute, "ready_interval",
		"must be from 50ms to 1m, got %v", c.ReadyInterval)
	p.Check(c.DrainTimeout > 0, "drain_timeout", "must be positive, got %v", c.DrainTimeout)
	return p.Err()
}
