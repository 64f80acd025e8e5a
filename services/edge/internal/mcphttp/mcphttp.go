// Package mcphttp is what the gateway and a server of the Model Context Protocol know of
// each other, so that a program may do without the latter. Start reading at Deps.
package mcphttp

import (
	"net/http"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/config"
)

// Path is where the protocol is spoken.
const Path = "/mcp"

// Config is the section mcp.
type Config struct {
	// Enabled says whether the protocol is spoken.
	Enabled bool `yaml:"enabled"`
	// MaxBodyBytes bounds a message.
	MaxBodyBytes config.Bytes `yaml:"max_body_bytes"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config { return Config{MaxBodyBytes: config.MiB} }

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(c.MaxBodyBytes >= 1<<10 && c.MaxBodyBytes <= 16*config.MiB, prefix+".max_body_bytes", "must be from 1KiB to 16MiB, got %v", c.MaxBodyBytes)
}

// Deps is what a server works with; all fields are needed.
type Deps struct {
	// Conn leads to the gateway's own services, through the chain. The context of a
	// request carries who asks.
	Conn    grpc.ClientConnInterface
	Clock   clock.Clock
	Version string
	// Refuse answers a request that is no message.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)
}
