// Package backend opens the discovery that the configuration names. It is apart
// from package discovery so that a program which needs no Consul links none.
package backend

import (
	"log/slog"
	"net"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/consul"
)

// The kinds of discovery.
const (
	KindStatic = "static"
	KindConsul = "consul"
)

// Config is the section "discovery" of every service.
type Config struct {
	// Kind is static or consul.
	Kind string `yaml:"kind"`
	// Static gives the host:port of the instances of each service, by the names
	// of services(). It may name more of them than the process calls, so that one
	// map does for all.
	Static map[string][]string `yaml:"static"`
	Consul consul.Config       `yaml:"consul"`
	// Advertise is the host:port under which others reach this process; empty
	// takes the address listened on.
	Advertise string `yaml:"advertise"`
}

// DefaultConfig returns the defaults: static, knowing nobody.
func DefaultConfig() Config { return Config{Kind: KindStatic, Consul: consul.DefaultConfig()} }

// services is the names under which processes announce themselves and are looked
// for. A name that is none of them would never be asked for, silently.
func services() []string {
	return []string{"poterne-edge", "poterne-inference", "poterne-registry", "poterne-search", "poterne-worker"}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	switch c.Kind {
	case KindStatic:
		for service, addrs := range c.Static {
			p.Check(slices.Contains(services(), service), prefix+".static."+service,
				"is not a service; the services are %s", strings.Join(services(), ", "))
			for _, a := range addrs {
				_, _, err := net.SplitHostPort(a)
				p.Check(err == nil, prefix+".static."+service, "must hold host:port, got %q", a)
			}
		}
	case KindConsul:
		c.Consul.Validate(p, prefix+".consul")
	default:
		p.Add(prefix+".kind", "must be static or consul, got %q", c.Kind)
	}
	if c.Advertise != "" {
		_, _, err := net.SplitHostPort(c.Advertise)
		p.Check(err == nil, prefix+".advertise", "must be host:port, got %q", c.Advertise)
	}
}

// Backend is a source and a registrar that belong together.
type Backend interface {
	discovery.Source
	discovery.Registrar
}

// Open returns the discovery that cfg names. Nothing is asked yet.
func Open(cfg Config, c clock.Clock, log *slog.Logger) (Backend, error) {
	if cfg.Kind == KindConsul {
		return openConsul(cfg.Consul, c, log)
	}
	return discovery.NewStatic(cfg.Static), nil
}
