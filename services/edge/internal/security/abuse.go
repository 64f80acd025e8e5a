package security

import (
	"context"
	"time"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/sqldb"
	"github.com/poterne/poterne/services/edge/internal/ban"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// AbuseConfig is the section "abuse".
type AbuseConfig struct {
	// ConnectionsPerAddress bounds the connections that one address (for IPv6, one
	// /64) has open at once on each port; further ones are closed. Trusted proxies
	// have no bound. 0: none.
	ConnectionsPerAddress int `yaml:"connections_per_address"`
	// ProxyProtocol says where trusted proxies begin connections with a header of the
	// PROXY protocol, version 2.
	ProxyProtocol ProxyProtocolConfig `yaml:"proxy_protocol"`
	Bans          ban.Config          `yaml:"bans"`
}

// ProxyProtocolConfig says where the PROXY protocol is spoken.
type ProxyProtocolConfig struct {
	HTTP bool `yaml:"http"`
	GRPC bool `yaml:"grpc"`
	// HeaderTimeout is how long a proxy may take for the header.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
}

func defaultAbuse() AbuseConfig {
	return AbuseConfig{
		ConnectionsPerAddress: 1000, ProxyProtocol: ProxyProtocolConfig{HeaderTimeout: 2 * time.Second}, Bans: ban.DefaultConfig(),
	}
}

func (c AbuseConfig) validate(p *config.Problems, prefix string, proxies bool) {
	p.Check(c.ConnectionsPerAddress >= 0, prefix+".connections_per_address", "must not be negative, got %d", c.ConnectionsPerAddress)
	pp := c.ProxyProtocol
	p.Check(proxies || !pp.HTTP && !pp.GRPC, prefix+".proxy_protocol", "needs limits.trusted_proxies: nobody else is believed")
	p.Check(pp.HeaderTimeout > 0 && pp.HeaderTimeout <= time.Minute, prefix+".proxy_protocol.header_timeout",
		"must be positive and at most 1m, got %v", pp.HeaderTimeout)
	c.Bans.Validate(p, prefix+".bans")
}

// Slow is for clients that send, or read, too slowly: it counts them, and
// holds it against their address.
func (s *Security) Slow(ctx context.Context, side string) {
	s.Metrics.SlowClient(ctx, side)
	s.Bans.Offend(ctx, s.Addresses.FromContext(ctx), ban.Slow)
}

// openBans reads the bans that hold.
func (s *Security) openBans(ctx context.Context, cfg ban.Config, d Deps, db *sqldb.DB) error {
	m, err := metrics.NewBans(d.Telemetry.Meter(metrics.Scope))
	if err != nil {
		return err
	}
	if s.Bans, err = ban.NewManager(ctx, cfg, ban.NewSQLStore(db), d.Clock, d.Telemetry.Logger, m, s.Addresses.Trusts); err != nil {
		return err
	}
	s.BanAdmin = ban.NewServer(s.Bans)
	return nil
}
