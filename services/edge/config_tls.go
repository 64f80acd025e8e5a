package edge

import (
	"path/filepath"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/tlsfiles"
)

// completeTLS puts what is kept of obtained certificates in the data directory.
func (c *Config) completeTLS() {
	if acme := &c.HTTP.TLS.ACME; acme.CacheDir == "" {
		acme.CacheDir = filepath.Join(c.DataDir, "acme")
	}
}

// validateTransport refuses what would be in the clear. The ports for callers
// outside may be on loopback, where a proxy on this machine speaks TLS for them.
func (c *Config) validateTransport(p *config.Problems) {
	c.Transport.Validate(p, c.Telemetry.OpsAddr, map[string]tlsfiles.Config{
		"inference.tls": c.Inference.TLS, "search.tls": c.Search.TLS, "registry.tls": c.Registry.TLS,
	})
	if !c.Transport.RequireMTLS {
		return
	}
	p.Check(c.HTTP.TLS.On() || tlsfiles.Loopback(c.HTTP.Addr), "http.tls.cert_file",
		"is needed, since security.require_mtls is true and http.addr is not on loopback")
	p.Check(c.GRPC.TLS.On() || tlsfiles.Loopback(c.GRPC.Addr), "grpc.tls.mode",
		"must not be off, since security.require_mtls is true and grpc.addr is not on loopback")
}
