package possession

import (
	"net/url"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "tokens.possession".
type Config struct {
	// PublicURL is how clients call the HTTP port, and PublicGRPCURL the gRPC port:
	// what proofs must be made for. Empty: as each request says, through proxies
	// that are trusted.
	PublicURL     string `yaml:"-"`
	PublicGRPCURL string `yaml:"-"`
	// Nonce has every proof carry a nonce of ours.
	Nonce bool `yaml:"nonce"`
	// NonceLifetime is how long one holds.
	NonceLifetime time.Duration `yaml:"nonce_lifetime"`
	// MaxAge is how old a proof may be, and Skew by how much its clock may be ahead.
	MaxAge time.Duration `yaml:"max_age"`
	Skew   time.Duration `yaml:"skew"`
	// MaxProofs is how many proofs are remembered, so that none is shown twice.
	MaxProofs int `yaml:"max_proofs"`
	// ClientCertHeader believes the header Client-Cert (RFC 9440) of trusted proxies.
	ClientCertHeader bool `yaml:"client_cert_header"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Nonce: true, NonceLifetime: 5 * time.Minute, MaxAge: time.Minute, Skew: 30 * time.Second, MaxProofs: 1 << 18}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.NonceLifetime >= 10*time.Second && c.NonceLifetime <= time.Hour, prefix+".nonce_lifetime", "must be from 10s to 1h, got %v", c.NonceLifetime)
	p.Check(c.MaxAge >= 5*time.Second && c.MaxAge <= 10*time.Minute, prefix+".max_age", "must be from 5s to 10m, got %v", c.MaxAge)
	p.Check(c.Skew >= 0 && c.Skew <= 5*time.Minute, prefix+".skew", "must be from 0s to 5m, got %v", c.Skew)
	p.Check(c.MaxProofs >= 1024 && c.MaxProofs <= 1<<24, prefix+".max_proofs", "must be from 1024 to 16777216, got %d", c.MaxProofs)
}

// PublicURL reports whether text can be how clients call a port: a scheme, a host
// and perhaps a path, and nothing else.
func PublicURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && !u.ForceQuery && u.RawQuery == "" &&
		!strings.Contains(text, "#") && len(text) <= 2048
}
