package allinone

import (
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/services/edge"
	"github.com/poterne/poterne/services/registry"
	"github.com/poterne/poterne/services/worker"
)

// ServiceName is what the program calls itself in its logs and metrics.
const ServiceName = "poterne"

// The engines that `poterne up` may bring.
const (
	// EngineAuto is what was fetched, or what the machine has.
	EngineAuto = "auto"
	// EngineSim is the simulated engine.
	EngineSim = "sim"
)

// Config is what `poterne up` may be told. Everything else keeps the services'
// own defaults.
type Config struct {
	// DataDir holds databases, indexes, the first key and the worker's state.
	DataDir string
	// HTTPAddr, GRPCAddr and OpsAddr are host:port.
	HTTPAddr, GRPCAddr, OpsAddr string
	// TLSCert and TLSKey are files of a certificate with its chain and its key, in
	// PEM, which secure REST and gRPC; both empty, they are in the clear.
	TLSCert, TLSKey string
	// Engine is EngineAuto or EngineSim.
	Engine string
	// EnginesBatch has engines without a GPU be batch work to Linux's scheduler, which do
	// not interrupt what asks them.
	EnginesBatch bool
	// FetchFrom is the prefixes of URIs that models' files may be fetched from,
	// without credentials; none allows files of this machine only.
	FetchFrom []string
	// ReadSources are absolute directories whose models MLflow's clients may have
	// read and registered.
	ReadSources []string
	// OIDCIssuers are issuers whose tokens are accepted, for any tenant, if they mean
	// one of OIDCAudiences.
	OIDCIssuers, OIDCAudiences []string
	// Login is where people log in to the web pages.
	Login Login
	// Cache has the edge keep answers in memory, with the defaults.
	Cache bool
	// ExperimentHeaders are headers, in lower case, that experiments may look at.
	ExperimentHeaders []string
	// ProtectedAliases are names and patterns of aliases that change only when
	// another subject approves.
	ProtectedAliases []string
	// TrustedKeys are the public keys whose signatures count; RequireSignatures lets
	// nothing serve that none of them has signed.
	TrustedKeys       []string
	RequireSignatures bool
	// MCP says whether the Model Context Protocol is spoken, at /mcp.
	MCP bool
	// WebhookAddresses are address ranges that webhooks may be in though they are
	// private, such as 127.0.0.0/8.
	WebhookAddresses []string
	// LogLevel is debug, info, warn or error; LogFormat is text or json.
	LogLevel, LogFormat string
	// OTLPEndpoint receives traces and metrics when it is set.
	OTLPEndpoint string
	// Env is the environment, NAME=value pairs. It holds no settings: a name that
	// looks like one is refused, since it would silently do nothing.
	Env []string
	// DrainTimeout bounds what requests in hand may take at the end.
	DrainTimeout time.Duration
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		DataDir: ".poterne", HTTPAddr: "127.0.0.1:8080", GRPCAddr: "127.0.0.1:9090", OpsAddr: "127.0.0.1:9100",
		Engine: EngineAuto, EnginesBatch: worker.DefaultConfig().Engines.Batch, MCP: true, LogLevel: "warn", LogFormat: "text", DrainTimeout: 30 * time.Second,
	}
}

// Validate returns every problem, each named as the command line names it.
func (c Config) Validate() error {
	var p config.Problems
	p.Check(c.DataDir != "", "--data-dir", "must not be empty")
	seen := map[string]string{}
	for _, a := range []struct{ flag, addr string }{
		{"--http-addr", c.HTTPAddr}, {"--grpc-addr", c.GRPCAddr}, {"--ops-addr", c.OpsAddr},
	} {
		_, port, err := net.SplitHostPort(a.addr)
		p.Check(err == nil, a.flag, "must be host:port, got %q", a.addr)
		if other, ok := seen[a.addr]; ok && port != "0" {
			p.Add(a.flag, "must not be the address of %s, %s", other, a.addr)
		}
		seen[a.addr] = a.flag
	}
	p.Check((c.TLSCert == "") == (c.TLSKey == ""), "--tls-key", "goes with --tls-cert")
	p.Check(slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel), "--log-level", "must be debug, info, warn or error, got %q", c.LogLevel)
	p.Check(c.LogFormat == "text" || c.LogFormat == "json", "--log-format", "must be text or json, got %q", c.LogFormat)
	p.Check(c.Engine == EngineAuto || c.Engine == EngineSim, "--engine", "must be auto or sim, got %q", c.Engine)
	fetched := worker.DefaultConfig()
	fetched.Artifacts.Remote.Allow = c.FetchFrom
	for _, dir := range c.ReadSources {
		p.Check(filepath.IsAbs(dir), "--read-sources", "must be absolute, got %q", dir)
	}
	if err := fetched.Complete(); err != nil {
		p.Add("--fetch-from", "must be prefixes of URIs with one of the schemes http, https, s3, oci and hf, got %q", c.FetchFrom)
	}
	p.Check(len(c.OIDCIssuers) > 0 || len(c.OIDCAudiences) == 0, "--oidc-audience", "needs an --oidc-issuer")
	p.Check(len(c.OIDCIssuers) == 0 || len(c.OIDCAudiences) > 0, "--oidc-issuer", "needs an --oidc-audience: tokens that are meant for others are not accepted")
	if len(c.OIDCAudiences) > 0 {
		c.tokens().Validate(&p, "--oidc-issuer")
	}
	c.validateLogin(&p)
	headers := edge.DefaultConfig()
	headers.OpenAI.ExperimentHeaders = c.ExperimentHeaders
	if err := headers.Complete(); err != nil {
		p.Add("--experiment-header", "%v", err)
	}
	for _, of := range []struct {
		flag string
		set  func(*registry.Config)
	}{
		{"--protect-alias", func(r *registry.Config) { r.Aliases.Protected = c.ProtectedAliases }},
		{"--webhook-addresses", func(r *registry.Config) { r.Webhooks.AllowAddresses = c.WebhookAddresses }},
		{"--trust-key", func(r *registry.Config) { r.Signatures = c.signatures() }},
	} {
		r := registry.DefaultConfig()
		of.set(r)
		if err := r.Complete(); err != nil {
			p.Add(of.flag, "%v", err)
		}
	}
	p.Check(c.DrainTimeout > 0, "--drain-timeout", "must be positive, got %v", c.DrainTimeout)
	config.RefuseUnknown(&p, c.Env)
	return p.Err()
}

// tokens is the edge's section of that name.
func (c Config) tokens() edge.TokensConfig {
	out := edge.DefaultConfig().Security.Tokens
	for _, issuer := range c.OIDCIssuers {
		out.Issuers = append(out.Issuers, edge.TokenIssuer{Issuer: issuer, Audiences: c.OIDCAudiences, Tenants: []string{edge.AnyTenant}})
	}
	out.Complete()
	return out
}

// signatures is what registry, inference and worker are told alike.
func (c Config) signatures() signing.Config {
	return signing.Config{Required: c.RequireSignatures, TrustedKeys: c.TrustedKeys}
}
