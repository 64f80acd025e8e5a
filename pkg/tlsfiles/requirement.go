package tlsfiles

import (
	"net"
	"net/netip"

	"github.com/poterne/poterne/pkg/config"
)

// Requirement is the section "security" of every service.
type Requirement struct {
	// RequireMTLS refuses to start when a gRPC port or a connection to another
	// service would be in the clear.
	RequireMTLS bool `yaml:"require_mtls"`
	// RemoteOps lets the ops port, which is in the clear, listen elsewhere than on
	// loopback in spite of RequireMTLS: on a network that only the platform's own
	// monitoring reaches.
	RemoteOps bool `yaml:"allow_remote_ops"`
}

// Validate notes each section that would be in the clear, by its path, and an
// ops port that others could reach.
func (r Requirement) Validate(p *config.Problems, opsAddr string, sections map[string]Config) {
	if !r.RequireMTLS {
		return
	}
	for path, c := range sections {
		p.Check(c.Mode == ModeRequire, path+".mode", "must be require, since security.require_mtls is true")
	}
	p.Check(opsAddr == "" || r.RemoteOps || Loopback(opsAddr), "telemetry.ops_addr",
		"must be on loopback, since security.require_mtls is true (security.allow_remote_ops lets it), got %q", opsAddr)
}

// Loopback reports whether only this machine can connect to what listens on
// host:port addr.
func Loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
