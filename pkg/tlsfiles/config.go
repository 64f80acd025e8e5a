package tlsfiles

import (
	"crypto/tls"
	"fmt"

	"github.com/poterne/poterne/pkg/config"
)

// The modes of a port or of a client.
const (
	// ModeOff speaks in the clear.
	ModeOff = "off"
	// ModeServer shows a certificate and asks for none.
	ModeServer = "server"
	// ModeRequest takes a certificate that the other side shows, when it is good.
	ModeRequest = "request"
	// ModeRequire speaks with nobody who shows no good certificate.
	ModeRequire = "require"
)

// The versions that may be the least.
const (
	Version12 = "1.2"
	Version13 = "1.3"
)

// Config is the section "tls" of a gRPC port and of a client between services.
type Config struct {
	// Mode is off or require. The edge's gRPC port, which is for callers outside,
	// knows server and request besides.
	Mode string `yaml:"mode"`
	// CertFile is this process's certificate with its chain, and KeyFile its key,
	// which others must not be able to read; both in PEM.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// CAFile holds the authorities that certificates of the other side come from.
	CAFile string `yaml:"ca_file"`
	// MinVersion is 1.3, or 1.2 for what cannot do better.
	MinVersion string `yaml:"min_version"`
	// AllowedIDs are the SPIFFE ids that the other side may have; one that ends in
	// /* stands for all below it.
	AllowedIDs []string `yaml:"allowed_ids"`
}

// DefaultConfig returns the defaults: off.
func DefaultConfig() Config { return Config{Mode: ModeOff, MinVersion: Version13} }

// On says whether anything is encrypted.
func (c Config) On() bool { return c.Mode != ModeOff && c.Mode != "" }

// Validate notes what is wrong with a port or a client between services; prefix
// is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	switch c.Mode {
	case ModeRequire:
		p.Check(c.CertFile != "", prefix+".cert_file", "is needed in mode require")
		p.Check(c.KeyFile != "", prefix+".key_file", "is needed in mode require")
		p.Check(c.CAFile != "", prefix+".ca_file", "is needed in mode require")
		p.Check(len(c.AllowedIDs) > 0, prefix+".allowed_ids", "is needed in mode require: spiffe://domain/* allows everybody of a trust domain")
		_, err := parseAllowed(c.AllowedIDs)
		p.Check(err == nil, prefix+".allowed_ids", "%v", err)
	case ModeOff:
		c.checkOff(p, prefix)
	default:
		p.Add(prefix+".mode", "must be off or require, got %q", c.Mode)
	}
	checkVersion(p, prefix+".min_version", c.MinVersion)
}

// ValidateOutside is Validate for a port that callers outside connect to, whose
// certificates need no SPIFFE id. shared says that the port has certificates
// from elsewhere when it names none.
func (c Config) ValidateOutside(p *config.Problems, prefix string, shared bool) {
	switch c.Mode {
	case ModeServer, ModeRequest, ModeRequire:
		p.Check((c.CertFile == "") == (c.KeyFile == ""), prefix+".key_file", "goes with cert_file")
		p.Check(c.CertFile != "" || shared, prefix+".cert_file", "is needed in mode %s, unless http.tls has certificates", c.Mode)
		p.Check((c.CAFile != "") == (c.Mode != ModeServer), prefix+".ca_file", "is for, and needed in, the modes request and require")
		p.Check(len(c.AllowedIDs) == 0, prefix+".allowed_ids", "is for connections between services; policies say who may do what here")
	case ModeOff:
		c.checkOff(p, prefix)
	default:
		p.Add(prefix+".mode", "must be off, server, request or require, got %q", c.Mode)
	}
	checkVersion(p, prefix+".min_version", c.MinVersion)
}

// checkOff refuses files that would not be used: whoever names them believes that
// something is encrypted.
func (c Config) checkOff(p *config.Problems, prefix string) {
	for key, value := range map[string]string{"cert_file": c.CertFile, "key_file": c.KeyFile, "ca_file": c.CAFile} {
		p.Check(value == "", prefix+"."+key, "is of no use in mode off")
	}
	p.Check(len(c.AllowedIDs) == 0, prefix+".allowed_ids", "is of no use in mode off")
}

func checkVersion(p *config.Problems, path, version string) {
	_, err := MinVersion(version)
	p.Check(err == nil, path, "%v", err)
}

// MinVersion returns the number of a version's name.
func MinVersion(name string) (uint16, error) {
	switch name {
	case Version13:
		return tls.VersionTLS13, nil
	case Version12:
		return tls.VersionTLS12, nil
	default:
		return 0, fmt.Errorf("must be %s or %s, got %q", Version13, Version12, name)
	}
}

// Suites are the cipher suites of TLS 1.2 that are spoken: with forward secrecy
// and authenticated encryption (RFC 9325, section 4.2). Those of TLS 1.3 are all
// of this kind and need no choice.
func Suites() []uint16 {
	return []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}
}
