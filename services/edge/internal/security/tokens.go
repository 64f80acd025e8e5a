package security

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/possession"
	"github.com/poterne/poterne/services/edge/internal/sharedsecret"
)

// TokensConfig is the section "tokens".
type TokensConfig struct {
	oidc.Config `yaml:",inline"`

	// PublicURL is how clients call the HTTP port, without the path, and
	// PublicGRPCURL the gRPC port: proofs must be made for them. Empty: as each
	// request says.
	PublicURL     string `yaml:"public_url"`
	PublicGRPCURL string `yaml:"public_grpc_url"`
	// Possession is about tokens that are bound to a key.
	Possession possession.Config `yaml:"possession"`
}

// DefaultTokensConfig returns the defaults.
func DefaultTokensConfig() TokensConfig {
	return TokensConfig{Config: oidc.DefaultConfig(), Possession: possession.DefaultConfig()}
}

// Complete fills what follows from other settings.
func (c *TokensConfig) Complete() {
	c.Config.Complete()
	c.Possession.PublicURL, c.Possession.PublicGRPCURL = c.PublicURL, c.PublicGRPCURL
}

// Validate notes what is wrong; prefix is the section's path.
func (c TokensConfig) Validate(p *config.Problems, prefix string) {
	c.Config.Validate(p, prefix)
	for _, u := range []struct{ key, text string }{{"public_url", c.PublicURL}, {"public_grpc_url", c.PublicGRPCURL}} {
		p.Check(u.text == "" || possession.PublicURL(u.text), prefix+"."+u.key, "must be an http or https URL without query or fragment, got %q", u.text)
	}
	c.Possession.Validate(p, prefix+".possession")
}

// openAuthenticators returns what credentials are accepted: keys, and the tokens
// of the issuers that are trusted.
func (s *Security) openAuthenticators(cfg Config, d Deps, log *slog.Logger) (authn.Chain, error) {
	chain := authn.Chain{authn.NewAPIKeys(s.keys)}
	o := oidc.Options{Clock: d.Clock, Logger: log, Transport: http.DefaultTransport, PlatformTenant: cfg.Authz.PlatformTenant}
	if len(cfg.Tokens.Issuers) > 0 {
		tokens, err := oidc.New(cfg.Tokens.Config, o)
		if err != nil {
			return nil, err
		}
		s.close = append(s.close, tokens.Close)
		chain = append(chain, tokens)
	}
	if cfg.Tokens.Introspection.URL != "" {
		opaque, err := oidc.NewIntrospector(cfg.Tokens.Introspection, cfg.Tokens.CacheSize, o)
		if err != nil {
			return nil, err
		}
		chain = append(chain, opaque) // the last: what nobody else knows is opaque
	}
	return chain, nil
}

// openPossession has tokens that are bound to a key checked.
func (s *Security) openPossession(ctx context.Context, cfg TokensConfig, d Deps, db *sqldb.DB) error {
	key, err := sharedsecret.Load(ctx, db, d.Random, "dpop-nonce")
	if err != nil {
		return err
	}
	s.Possession = possession.New(cfg.Possession, key, d.Clock, s.Addresses)
	return nil
}

// challenges is what refused callers are told.
func challenges(cfg TokensConfig) authn.Challenges {
	var c authn.Challenges
	if len(cfg.Issuers) > 0 || cfg.Introspection.URL != "" {
		c.Algorithms = possession.Algorithms()
	}
	return c
}
