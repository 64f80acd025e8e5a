package cli

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/allinone"
)

func (a *app) upCommand() *cobra.Command {
	cfg := allinone.DefaultConfig()
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole platform on this machine, in the foreground",
		Long: `Runs edge, inference, search, registry and a worker in one process, on embedded
stores, with an engine that scripts/components.sh has fetched or that this
machine has. The first start writes an administrator's key to
<data-dir>/admin.key.

Settings are the flags below: a POTERNE_... name in the environment that no part
of Poterne knows is refused.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg.Env = os.Environ()
			if err := cfg.Validate(); err != nil {
				return err
			}
			if err := telemetry.LogGRPC(allinone.ServiceName, a.version, cfg.Telemetry()); err != nil {
				return err
			}
			return allinone.Run(cmd.Context(), cfg, a.version, a.streams.Out)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "where databases, indexes and the first key lie")
	f.StringVar(&cfg.HTTPAddr, "http-addr", cfg.HTTPAddr, "host:port of REST")
	f.StringVar(&cfg.GRPCAddr, "grpc-addr", cfg.GRPCAddr, "host:port of gRPC")
	f.StringVar(&cfg.OpsAddr, "ops-addr", cfg.OpsAddr, "host:port of metrics, health and profiles; keep it private")
	f.StringVar(&cfg.TLSCert, "tls-cert", "", "a certificate with its chain (PEM): REST and gRPC over TLS; it is read again when it changes")
	f.StringVar(&cfg.TLSKey, "tls-key", "", "its key (PEM), which nobody else may be able to read")
	f.StringVar(&cfg.Engine, "engine", cfg.Engine, "auto (real models) or sim (a simulated engine)")
	f.BoolVar(&cfg.EnginesBatch, "engines-batch", cfg.EnginesBatch, "on Linux, have engines without a GPU be batch work to the scheduler, which does not interrupt the rest")
	f.StringArrayVar(&cfg.ReadSources, "read-sources", nil, "an absolute directory whose models MLflow's clients may have read and registered; may be repeated")
	f.StringArrayVar(&cfg.FetchFrom, "fetch-from", nil, "a prefix of URIs that models' files may be fetched from, such as hf://organisation or https://host/path; may be repeated")
	f.StringArrayVar(&cfg.OIDCIssuers, "oidc-issuer", nil, "an OpenID provider whose tokens are accepted (claims tenant, roles, groups); may be repeated")
	f.StringArrayVar(&cfg.OIDCAudiences, "oidc-audience", nil, "a name that such tokens mean this platform by, in aud; may be repeated")
	f.StringVar(&cfg.Login.Issuer, "login-issuer", "", "an OpenID provider where people log in to the web pages (claims tenant, roles, groups)")
	f.StringVar(&cfg.Login.ClientID, "login-client-id", "", "what it knows this platform as")
	f.StringVar(&cfg.Login.SecretFile, "login-client-secret-file", "", "a file with the secret that it is shown; none for a public client")
	f.StringVar(&cfg.Login.URL, "login-url", "", "where browsers reach REST, such as https://host (default: where it listens)")
	f.BoolVar(&cfg.Cache, "cache", false, "keep answers in memory, and give those again that were asked for with temperature 0 (docs/cache.md)")
	f.StringArrayVar(&cfg.ExperimentHeaders, "experiment-header", nil, "a header, in lower case, that experiments may look at; may be repeated")
	f.StringArrayVar(&cfg.ProtectedAliases, "protect-alias", nil, "an alias, or a pattern in which * stands for any characters, that changes only when another subject approves; may be repeated")
	f.StringArrayVar(&cfg.TrustedKeys, "trust-key", nil, "a public key whose signatures of versions count, in base64; may be repeated")
	f.BoolVar(&cfg.RequireSignatures, "require-signatures", false, "let no version serve that no trusted key has signed; sign what serves first")
	f.StringArrayVar(&cfg.WebhookAddresses, "webhook-addresses", nil, "a range of private addresses that webhooks of the registry and of budgets may be in, such as 127.0.0.0/8; allows http:// for both; may be repeated")
	f.BoolVar(&cfg.MCP, "mcp", cfg.MCP, "speak the Model Context Protocol at /mcp: searches and chats as tools")
	f.StringVar(&cfg.LogLevel, "log-level", cfg.LogLevel, "debug, info, warn or error")
	f.StringVar(&cfg.LogFormat, "log-format", cfg.LogFormat, "text or json")
	f.StringVar(&cfg.OTLPEndpoint, "otlp-endpoint", "", "where traces and metrics are sent; empty sends nothing")
	f.DurationVar(&cfg.DrainTimeout, "drain-timeout", cfg.DrainTimeout, "what requests in hand may take at the end")
	return cmd
}
