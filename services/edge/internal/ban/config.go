package ban

import (
	"net/netip"
	"time"

	"github.com/poterne/poterne/pkg/config"
)

// Config is the section "abuse.bans".
type Config struct {
	// Threshold is how many points an address may collect within Window before it is
	// banned; 0: the gateway bans nobody on its own. Refused credentials are one
	// point, and so is a client that was disconnected since it was too slow; a request
	// that the firewall refused is FirewallPoints.
	Threshold      int           `yaml:"threshold"`
	Window         time.Duration `yaml:"window"`
	FirewallPoints int           `yaml:"firewall_points"`
	// First is how long the first ban lasts, each next one twice as long up to
	// Longest; after Forget without one it is the first again.
	First   time.Duration `yaml:"first"`
	Longest time.Duration `yaml:"longest"`
	Forget  time.Duration `yaml:"forget"`
	// Never are networks (CIDR) that are never banned, besides the trusted proxies.
	Never []string `yaml:"never"`
	// Max is how many bans are kept.
	Max int `yaml:"max"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Threshold: 100, Window: 5 * time.Minute, FirewallPoints: 5, First: time.Minute, Longest: 24 * time.Hour,
		Forget: 24 * time.Hour, Max: 10_000,
		Never: []string{"127.0.0.0/8", "::1/128"}, // a proxy beside us that nobody named as one
	}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.Threshold >= 0 && c.Threshold <= 1_000_000, prefix+".threshold", "must be from 0 to 1000000, got %d", c.Threshold)
	p.Check(c.FirewallPoints >= 0 && c.FirewallPoints <= 1000, prefix+".firewall_points", "must be from 0 to 1000, got %d", c.FirewallPoints)
	p.Check(c.Window > 0, prefix+".window", "must be positive, got %v", c.Window)
	p.Check(c.First >= time.Second, prefix+".first", "must be at least 1s, got %v", c.First)
	p.Check(c.Longest >= c.First && c.Longest <= 366*24*time.Hour, prefix+".longest", "must be from first to 366 days, got %v", c.Longest)
	p.Check(c.Forget >= 0, prefix+".forget", "must not be negative, got %v", c.Forget)
	p.Check(c.Max >= 1 && c.Max <= 100_000, prefix+".max", "must be from 1 to 100000, got %d", c.Max)
	for _, s := range c.Never {
		_, err := netip.ParsePrefix(s)
		p.Check(err == nil, prefix+".never", "%q is not a network such as 10.0.0.0/8", s)
	}
}
