package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"google.golang.org/grpc/credentials"
)

func (c Config) files() Files {
	return Files{CertFile: c.CertFile, KeyFile: c.KeyFile, CAFile: c.CAFile}
}

// Server returns the credentials of a port between services: both sides show a
// certificate of an authority that is trusted at that moment, and the client's
// has an id that is allowed. c must be in mode require.
func (c Config) Server(o Options) (credentials.TransportCredentials, error) {
	o.SPIFFE = true
	s, ids, base, err := c.open(o)
	if err != nil {
		return nil, err
	}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := s.Current()
		conn := base.Clone()
		conn.GetConfigForClient = nil
		conn.Certificates = []tls.Certificate{*now.Certificate}
		conn.ClientAuth, conn.ClientCAs = tls.RequireAndVerifyClientCert, now.Authorities
		conn.VerifyConnection = func(state tls.ConnectionState) error { return ids.check(state.PeerCertificates[0]) }
		return conn, nil
	}
	return credentials.NewTLS(base), nil
}

// Client returns the credentials of a client between services: as Server's, for
// the other side. Names of hosts do not count, since addresses come from
// discovery: the server's id does. c must be in mode require.
func (c Config) Client(o Options) (credentials.TransportCredentials, error) {
	o.SPIFFE = true
	s, ids, base, err := c.open(o)
	if err != nil {
		return nil, err
	}
	base.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return s.Current().Certificate, nil }
	// Replaced, not left out: VerifyConnection verifies the chain, against the
	// authorities of this moment, and the id in place of a host's name.
	base.InsecureSkipVerify = true
	base.VerifyConnection = func(state tls.ConnectionState) error {
		if err := verifyServer(state.PeerCertificates, s.Current().Authorities, o); err != nil {
			return err
		}
		return ids.check(state.PeerCertificates[0])
	}
	return credentials.NewTLS(base), nil
}

func (c Config) open(o Options) (*Source, allowed, *tls.Config, error) {
	version, err := MinVersion(c.MinVersion)
	if err != nil {
		return nil, allowed{}, nil, fmt.Errorf("%s: min_version %w", o.Name, err)
	}
	if c.Mode != ModeRequire {
		return nil, allowed{}, nil, fmt.Errorf("%s: mode %s is not for connections between services", o.Name, c.Mode)
	}
	ids, err := parseAllowed(c.AllowedIDs)
	if err != nil {
		return nil, allowed{}, nil, fmt.Errorf("%s: %w", o.Name, err)
	}
	s, err := Open(c.files(), o)
	if err != nil {
		return nil, allowed{}, nil, err
	}
	return s, ids, &tls.Config{
		MinVersion: version, CipherSuites: Suites(), NextProtos: []string{"h2"}, Time: o.Clock.Now,
		// A session that is resumed would pass an authority that is trusted no more.
		SessionTicketsDisabled: true,
	}, nil
}

func verifyServer(chain []*x509.Certificate, roots *x509.CertPool, o Options) error {
	if len(chain) == 0 {
		return errors.New("the server shows no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: o.Clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}
