package login

import (
	"net"
	"net/url"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/edge/internal/oidc"
	"github.com/poterne/poterne/services/edge/internal/session"
)

// Config is the section "login".
type Config struct {
	// Provider is where people log in; without an issuer nobody can.
	Provider oidc.ProviderConfig `yaml:",inline"`
	// PublicURL is where browsers reach this gateway, scheme://host[:port]: https, or
	// http on this machine.
	PublicURL string `yaml:"public_url"`
	// DefaultPath is where people come after they have logged in without having asked
	// for a page.
	DefaultPath string         `yaml:"default_path"`
	Session     session.Config `yaml:"session"`
}

// DefaultConfig returns the defaults: no login.
func DefaultConfig() Config {
	return Config{DefaultPath: PathAccount, Session: session.DefaultConfig()}
}

// Enabled reports whether people can log in.
func (c Config) Enabled() bool { return c.Provider.Issuer != "" }

// Complete fills what follows from other settings.
func (c *Config) Complete() {
	if c.Enabled() {
		c.Provider.Complete()
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	c.Session.Validate(p, prefix+".session")
	if !c.Enabled() {
		p.Check(c.Provider.ClientID == "" && c.Provider.ClientSecret == "" && c.PublicURL == "", prefix+".issuer",
			"must be there: nobody can log in without a provider")
		return
	}
	c.Provider.Validate(p, prefix)
	_, ok := c.origin()
	p.Check(ok, prefix+".public_url", "must be https://host[:port] (http on this machine) without a path, got %q", c.PublicURL)
	p.Check(ownPath(c.DefaultPath) == c.DefaultPath && c.DefaultPath != "", prefix+".default_path", "must be a path of this gateway such as /account, got %q", c.DefaultPath)
}

// origin returns the public URL, if it is one; it is in the form that browsers
// write in Origin.
func (c Config) origin() (*url.URL, bool) {
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme+"://"+u.Host != c.PublicURL {
		return nil, false
	}
	for _, r := range u.Host {
		if r >= 'A' && r <= 'Z' || r > '~' {
			return nil, false
		}
	}
	switch u.Scheme {
	case "https":
		return u, u.Port() != "443" // browsers leave it out
	case "http":
		ip := net.ParseIP(u.Hostname())
		return u, u.Port() != "80" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback())
	default:
		return nil, false
	}
}

// secure reports whether cookies are for TLS only. They are, but on this machine
// without it.
func (c Config) secure() bool {
	u, ok := c.origin()
	return ok && u.Scheme == "https"
}

// The names of the cookies. With the prefix browsers take them only over TLS, for
// this host alone, and let no other host set them (RFC 6265bis, section 4.1.3).
const (
	hostPrefix    = "__Host-"
	sessionCookie = "poterne-session"
	flowCookie    = "poterne-login"
)

func (c Config) cookie(name string) string {
	if c.secure() {
		return hostPrefix + name
	}
	return name
}

// SessionCookie is the name of the cookie that a session is shown with.
func (c Config) SessionCookie() string { return c.cookie(sessionCookie) }
