package security

import (
	"context"
	"net/http"
	"strings"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/issue"
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
	// Issue is about the tokens that the gateway issues itself.
	Issue issue.Config `yaml:"issue"`
}

// DefaultTokensConfig returns the defaults.
func DefaultTokensConfig() TokensConfig {
	return TokensConfig{Config: oidc.DefaultConfig(), Possession: possession.DefaultConfig(), Issue: issue.DefaultConfig()}
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
	c.Issue.Validate(p, prefix+".issue")
}

// CompleteIssue fills what follows from where the HTTP port listens.
func (c *TokensConfig) CompleteIssue(addr string) { c.Issue.Complete(c.PublicURL, addr) }

func (c TokensConfig) issuers() (out []string) {
	for _, is := range c.Issuers {
		out = append(out, is.Issuer)
	}
	return out
}

// openAuthenticators returns what credentials are accepted: keys, tokens of our
// own, and those of the issuers that are trusted.
func (s *Security) openAuthenticators(cfg Config, d Deps, db *sqldb.DB) (authn.Chain, error) {
	log := d.Telemetry.Logger
	keys := authn.NewAPIKeys(s.keys)
	chain := authn.Chain{keys}
	if cfg.Tokens.Issue.Enabled {
		var err error
		if s.issue, err = issue.New(cfg.Tokens.Issue, issue.Deps{
			DB: db, Keys: keys, Clock: d.Clock, Logger: log, Others: cfg.Tokens.issuers(), CacheSize: cfg.Tokens.CacheSize,
		}); err != nil {
			return nil, err
		}
		chain = append(chain, s.issue.Authenticator())
	}
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

// accepted reports whether tokens of any kind are.
func (c TokensConfig) accepted() bool {
	return c.Issue.Enabled || len(c.Issuers) > 0 || c.Introspection.URL != ""
}

// challenges is what refused callers are told.
func challenges(cfg TokensConfig) (c authn.Challenges) {
	if !cfg.accepted() {
		return c
	}
	c.Algorithms = possession.Algorithms()
	if cfg.PublicURL != "" {
		c.Metadata = strings.TrimSuffix(cfg.PublicURL, "/") + issue.ResourcePath
	}
	return c
}

// Pages is what answers GET outside of the API, by path: what others need to know
// about tokens.
func (s *Security) Pages() map[string]http.Handler {
	out := make(map[string]http.Handler)
	door := s.Door()
	if s.issue != nil {
		out = s.issue.Pages(door)
	}
	if s.tokens.accepted() {
		r := issue.Resource{URL: strings.TrimSuffix(s.tokens.PublicURL, "/"), Servers: s.tokens.issuers()}
		if r.URL == "" {
			r.URL = s.tokens.Issue.Issuer
		}
		if s.issue != nil {
			r.Servers = append([]string{s.tokens.Issue.Issuer}, r.Servers...)
		}
		out[issue.ResourcePath] = r.Page(door)
	}
	return out
}

// Forms is what answers POST outside of the API, by path.
func (s *Security) Forms() map[string]http.Handler {
	if s.issue == nil {
		return nil
	}
	return map[string]http.Handler{issue.TokenPath: s.issue.Endpoint(s.Door(), s.Possession)}
}
