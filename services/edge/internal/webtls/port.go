package webtls

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// Obtainer gets certificates from an authority, and proves to it whose they are.
type Obtainer interface {
	// GetCertificate returns the certificate for the name that a client asks for,
	// and answers TLS-ALPN-01 (RFC 8737).
	GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
	// HTTPHandler answers HTTP-01, and leaves the rest to fallback.
	HTTPHandler(fallback http.Handler) http.Handler
}

// ProtocolACME is spoken with an authority that looks for its challenge.
const ProtocolACME = "acme-tls/1"

// Deps is what Open needs besides the configuration.
type Deps struct {
	Clock     clock.Clock
	Telemetry *telemetry.Telemetry
	// OpenACME is nil in a program that obtains no certificates.
	OpenACME func(ACME) (Obtainer, error)
}

// Port is the TLS of one port. It is safe for concurrent use.
type Port struct {
	sources []*tlsfiles.Source
	acme    Obtainer
	clients *tlsfiles.Source
	auth    tls.ClientAuthType
	version uint16
	clock   clock.Clock
}

// Open reads the certificates of the HTTP port; nil when it speaks in the clear.
func Open(c Config, d Deps) (*Port, error) {
	if !c.On() {
		return nil, nil //nolint:nilnil // in the clear
	}
	port := &Port{auth: clientAuth(c.ClientAuth), clock: d.Clock}
	var err error
	if port.version, err = tlsfiles.MinVersion(c.MinVersion); err != nil {
		return nil, fmt.Errorf("http.tls: min_version %w", err)
	}
	pairs := slices.Clone(c.Certificates)
	if c.CertFile != "" {
		pairs = slices.Insert(pairs, 0, Pair{c.CertFile, c.KeyFile})
	}
	for i, pair := range pairs {
		name := "http"
		if i > 0 || c.CertFile == "" {
			name = fmt.Sprintf("http.certificates[%d]", i)
		}
		if err := port.add(name, tlsfiles.Files{CertFile: pair.CertFile, KeyFile: pair.KeyFile}, d); err != nil {
			return nil, err
		}
	}
	if c.ACME.On() {
		if d.OpenACME == nil {
			return nil, errors.New("http.tls.acme: this program is built without ACME; poterne-edge has it")
		}
		if port.acme, err = d.OpenACME(c.ACME); err != nil {
			return nil, fmt.Errorf("http.tls.acme: %w", err)
		}
	}
	if c.ClientCAFile != "" {
		if err := port.trust("http.client_ca", c.ClientCAFile, d); err != nil {
			return nil, err
		}
	}
	return port, nil
}

// OpenGRPC reads the certificates of the gRPC port: those of web, unless c names
// its own. It is nil when the port speaks in the clear.
func OpenGRPC(c tlsfiles.Config, web *Port, d Deps) (*Port, error) {
	if !c.On() {
		return nil, nil //nolint:nilnil // in the clear
	}
	port := &Port{auth: clientAuth(c.Mode), clock: d.Clock}
	var err error
	if port.version, err = tlsfiles.MinVersion(c.MinVersion); err != nil {
		return nil, fmt.Errorf("grpc.tls: min_version %w", err)
	}
	switch {
	case c.CertFile != "":
		err = port.add("grpc", tlsfiles.Files{CertFile: c.CertFile, KeyFile: c.KeyFile}, d)
	case web != nil:
		port.sources, port.acme = web.sources, web.acme
	default:
		err = errors.New("grpc.tls: there is no certificate")
	}
	if err == nil && c.CAFile != "" {
		err = port.trust("grpc.client_ca", c.CAFile, d)
	}
	if err != nil {
		return nil, err
	}
	return port, nil
}

func clientAuth(name string) tls.ClientAuthType {
	switch name {
	case ClientRequest: // tlsfiles.ModeRequest and ModeRequire are the same words
		return tls.VerifyClientCertIfGiven
	case ClientRequire:
		return tls.RequireAndVerifyClientCert
	default:
		return tls.NoClientCert
	}
}

func (p *Port) add(name string, files tlsfiles.Files, d Deps) error {
	s, err := tlsfiles.Open(files, tlsfiles.Options{Name: name, Clock: d.Clock, Telemetry: d.Telemetry})
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	p.sources = append(p.sources, s)
	return nil
}

func (p *Port) trust(name, path string, d Deps) error {
	s, err := tlsfiles.Open(tlsfiles.Files{CAFile: path}, tlsfiles.Options{Name: name, Clock: d.Clock, Telemetry: d.Telemetry})
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	p.clients = s
	return nil
}

// Config returns what a server of the protocols needs (ALPN). Each connection is
// shown the certificate, and its own is verified by the authorities, of that
// moment.
func (p *Port) Config(protocols ...string) *tls.Config {
	base := &tls.Config{
		MinVersion: p.version, CipherSuites: tlsfiles.Suites(), NextProtos: protocols, Time: p.clock.Now,
		// A session that is resumed would pass an authority that is trusted no more.
		SessionTicketsDisabled: p.auth != tls.NoClientCert,
	}
	base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		conn := base.Clone()
		conn.GetConfigForClient = nil
		if p.acme != nil && slices.Equal(hello.SupportedProtos, []string{ProtocolACME}) {
			// The authority has no certificate to show; nor does it say anything else.
			conn.NextProtos, conn.GetCertificate = []string{ProtocolACME}, p.acme.GetCertificate
			return conn, nil
		}
		for _, s := range p.sources {
			conn.Certificates = append(conn.Certificates, *s.Current().Certificate)
		}
		if p.acme != nil {
			conn.GetCertificate = p.certificate(conn.Certificates)
			conn.Certificates = nil
		}
		if p.clients != nil {
			conn.ClientAuth, conn.ClientCAs = p.auth, p.clients.Current().Authorities
		}
		return conn, nil
	}
	return base
}

// certificate prefers those from files to those that are obtained.
func (p *Port) certificate(from []tls.Certificate) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		for i := range from {
			if hello.SupportsCertificate(&from[i]) == nil {
				return &from[i], nil
			}
		}
		return p.acme.GetCertificate(hello)
	}
}

// Challenges answers HTTP-01 before next.
func (p *Port) Challenges(next http.Handler) http.Handler {
	if p.acme == nil {
		return next
	}
	challenges := p.acme.HTTPHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// It compares the header with the names of hosts, and so must see no port.
		if host, _, err := net.SplitHostPort(r.Host); err == nil {
			r = r.Clone(r.Context())
			r.Host = host
		}
		challenges.ServeHTTP(w, r)
	})
}
