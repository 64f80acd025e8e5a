package oidc

import (
	"slices"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// ProviderConfig says where people log in, and who we are there.
type ProviderConfig struct {
	// Issuer is the provider's name, as its tokens have it in iss: an https URL. Its
	// configuration is at /.well-known/openid-configuration below it.
	Issuer string `yaml:"issuer"`
	// ClientID is what the provider knows us as, and ClientSecret what we show it;
	// without one we are a public client.
	ClientID     string        `yaml:"client_id"`
	ClientSecret config.Secret `yaml:"client_secret"`
	// Scopes are asked for at the provider; openid is always among them.
	Scopes []string `yaml:"scopes"`
	// Algorithms, Skew, Tenants and Mapping are as those of an issuer of tokens.
	Algorithms []string      `yaml:"algorithms"`
	Skew       time.Duration `yaml:"skew"`
	Tenants    []string      `yaml:"tenants"`
	Mapping    MappingConfig `yaml:"mapping"`
}

// openID is the scope that makes an authorisation request one for a login.
const openID = "openid"

const maxScopes = 32

// Complete fills what is left out.
func (c *ProviderConfig) Complete() {
	is := c.trusted()
	is.complete()
	c.Algorithms, c.Skew, c.Mapping = is.Algorithms, is.Skew, is.Mapping
	if c.Scopes == nil {
		c.Scopes = []string{openID, "profile"}
	}
	if !slices.Contains(c.Scopes, openID) {
		c.Scopes = append([]string{openID}, c.Scopes...)
	}
}

// trusted is the provider as an issuer: of tokens that are meant for us alone, and
// that are no access tokens.
func (c ProviderConfig) trusted() IssuerConfig {
	d := DefaultIssuer()
	return IssuerConfig{
		Issuer: c.Issuer, Audiences: []string{c.ClientID}, Algorithms: c.Algorithms, Types: []string{"JWT", ""}, Skew: c.Skew,
		MaxAge: idTokenAge, Required: []string{"iat", "nonce"}, Tenants: c.Tenants, Mapping: c.Mapping,
		RefreshEvery: d.RefreshEvery, KeepFor: d.KeepFor, SenderConstrained: d.SenderConstrained,
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c ProviderConfig) Validate(p *config.Problems, prefix string) {
	c.trusted().validate(p, prefix)
	p.Check(c.ClientID != "" && len(c.ClientID) <= 255, prefix+".client_id", "must be what the provider knows this gateway as")
	p.Check(len(c.Scopes) <= maxScopes, prefix+".scopes", "must be at most %d", maxScopes)
	for _, s := range c.Scopes {
		p.Check(scopeForm.MatchString(s), prefix+".scopes", "%.64q is no scope", s)
	}
}
