// Package webtls is TLS on the ports that callers outside connect to: which
// certificate is shown to whom, and what is asked of theirs. Whom a certificate
// stands for is not its business. Start reading at Open.
package webtls

import (
	"net"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// What is asked of clients.
const (
	// ClientNone asks for no certificate.
	ClientNone = "none"
	// ClientRequest takes one that is good, and refuses one that is not.
	ClientRequest = "request"
	// ClientRequire refuses clients without.
	ClientRequire = "require"
)

// Config is the section http.tls.
type Config struct {
	// CertFile is the certificate with its chain and KeyFile its key, which others
	// must not be able to read; both in PEM. Without them, without Certificates and
	// without ACME the port speaks in the clear.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// Certificates are more of them: each client is shown the first that has the
	// name it asks for (SNI), and the one above when none has.
	Certificates []Pair `yaml:"certificates"`
	// ACME obtains certificates by itself, for names that no other is for.
	ACME ACME `yaml:"acme"`
	// MinVersion is 1.3, or 1.2 for clients that cannot do better.
	MinVersion string `yaml:"min_version"`
	// ClientAuth is none, request or require, and ClientCAFile holds the authorities
	// that clients' certificates come from.
	ClientAuth   string `yaml:"client_auth"`
	ClientCAFile string `yaml:"client_ca_file"`
	// HSTSMaxAge is how long browsers are told to come back over TLS only
	// (RFC 6797); 0 does not tell them.
	HSTSMaxAge time.Duration `yaml:"hsts_max_age"`
	// RedirectAddr is the host:port that sends callers in the clear to this port;
	// empty is none. ACME's HTTP-01 is answered there.
	RedirectAddr string `yaml:"redirect_addr"`
	// PublicPort is the port that they are sent to; 0 is that of http.addr.
	PublicPort int `yaml:"public_port"`
}

// Pair is one certificate and its key.
type Pair struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// ACME is how certificates are obtained (RFC 8555).
type ACME struct {
	// Hosts are the names that certificates are obtained for; none turns it off.
	Hosts []string `yaml:"hosts"`
	// DirectoryURL is the authority's; https only.
	DirectoryURL string `yaml:"directory_url"`
	// CAFile holds the authorities that the directory's own certificate may come
	// from; empty takes the system's.
	CAFile string `yaml:"ca_file"`
	// AcceptTerms accepts the authority's terms of service.
	AcceptTerms bool `yaml:"accept_terms"`
	// Email is where the authority writes to.
	Email string `yaml:"email"`
	// CacheDir keeps the account's key and the certificates; empty is acme in the
	// data directory. Edges that share it
	// share both, and answer each other's challenges.
	CacheDir string `yaml:"cache_dir"`
	// RenewBefore is how long before its end a certificate is renewed, and has to be
	// less than its life; 0 is a third of that, at most 30 days.
	RenewBefore time.Duration `yaml:"renew_before"`
	// EABKeyID and EABKey bind the account to one that the authority knows already
	// (RFC 8555, section 7.3.4); the key is in base64url.
	EABKeyID string        `yaml:"eab_key_id"`
	EABKey   config.Secret `yaml:"eab_key"`
}

// On says whether certificates are obtained.
func (a ACME) On() bool { return len(a.Hosts) > 0 }

// On says whether the port speaks TLS.
func (c Config) On() bool { return c.CertFile != "" || len(c.Certificates) > 0 || c.ACME.On() }

// DefaultConfig returns the defaults: off.
func DefaultConfig() Config {
	return Config{
		MinVersion: tlsfiles.Version13, ClientAuth: ClientNone, HSTSMaxAge: 365 * 24 * time.Hour,
	}
}

// The most certificates and names of one port, and the earliest renewal.
const (
	maxRenewBefore  = 30 * 24 * time.Hour
	maxCertificates = 100
	maxHosts        = 100
)

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check((c.CertFile == "") == (c.KeyFile == ""), prefix+".key_file", "goes with cert_file")
	p.Check(len(c.Certificates) <= maxCertificates, prefix+".certificates", "must not be more than %d", maxCertificates)
	for i, pair := range c.Certificates {
		p.Check(pair.CertFile != "" && pair.KeyFile != "", prefix+".certificates["+strconv.Itoa(i)+"]", "needs cert_file and key_file")
	}
	_, err := tlsfiles.MinVersion(c.MinVersion)
	p.Check(err == nil, prefix+".min_version", "%v", err)
	switch c.ClientAuth {
	case ClientNone:
		p.Check(c.ClientCAFile == "", prefix+".client_ca_file", "is of no use while client_auth is none")
	case ClientRequest, ClientRequire:
		p.Check(c.ClientCAFile != "", prefix+".client_ca_file", "is needed while client_auth is %s", c.ClientAuth)
		p.Check(c.On(), prefix+".client_auth", "needs a certificate: set cert_file and key_file, or acme")
	default:
		p.Add(prefix+".client_auth", "must be none, request or require, got %q", c.ClientAuth)
	}
	p.Check(c.HSTSMaxAge >= 0, prefix+".hsts_max_age", "must not be negative, got %v", c.HSTSMaxAge)
	p.Check(c.PublicPort >= 0 && c.PublicPort < 1<<16, prefix+".public_port", "must be a port, got %d", c.PublicPort)
	if c.RedirectAddr != "" {
		_, _, err := net.SplitHostPort(c.RedirectAddr)
		p.Check(err == nil, prefix+".redirect_addr", "must be host:port, got %q", c.RedirectAddr)
		p.Check(c.On(), prefix+".redirect_addr", "needs a certificate: there is nowhere to send callers to")
	}
	c.ACME.validate(p, prefix+".acme")
}

func (a ACME) validate(p *config.Problems, prefix string) {
	if !a.On() {
		p.Check(a.DirectoryURL == "" && a.EABKeyID == "", prefix+".hosts", "is needed: the names to obtain certificates for")
		return
	}
	p.Check(len(a.Hosts) <= maxHosts, prefix+".hosts", "must not be more than %d", maxHosts)
	name := regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	for _, h := range a.Hosts {
		p.Check(len(h) <= 253 && name.MatchString(h) && net.ParseIP(h) == nil, prefix+".hosts", "must hold names of hosts in lower case, got %q", h)
	}
	u, err := url.Parse(a.DirectoryURL)
	p.Check(err == nil && u.Scheme == "https" && u.Host != "", prefix+".directory_url", "must be an https URL, got %q", a.DirectoryURL)
	p.Check(a.AcceptTerms, prefix+".accept_terms", "must be true: the authority asks for it")
	p.Check(a.CacheDir != "", prefix+".cache_dir", "must not be empty")
	p.Check(a.RenewBefore >= 0 && a.RenewBefore <= maxRenewBefore, prefix+".renew_before", "must be from 0 to 720h, got %v", a.RenewBefore)
	p.Check((a.EABKeyID == "") == (a.EABKey == ""), prefix+".eab_key", "goes with eab_key_id")
}
