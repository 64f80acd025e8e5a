package worker

import (
	"net"
	"strconv"

	"github.com/poterne/poterne/pkg/config"
	"github.com/poterne/poterne/services/worker/internal/engine"
)

// Tensors is a kind of engine that speaks the Open Inference Protocol over
// gRPC: MLServer or Triton. A model gets a server of its own, unless its spec
// names one that runs already.
type Tensors struct {
	Engine `yaml:",inline"`

	// Slots is how many requests a model runs at once when its spec does not
	// say (parameter slots).
	Slots int `yaml:"slots"`
	// Endpoints are servers that run already, by the names that specs have for
	// them (parameter endpoint).
	Endpoints map[string]TensorEndpoint `yaml:"endpoints"`
}

// TensorEndpoint is one such server.
type TensorEndpoint struct {
	// Address is its host:port for gRPC.
	Address string `yaml:"address"`
	// TLS encrypts, and checks the server against the system's authorities.
	TLS bool `yaml:"tls"`
	// APIKey is sent to the server as a bearer token, over TLS only; it never
	// leaves the worker otherwise.
	APIKey config.Secret `yaml:"api_key"`
	// Slots is how many requests it runs at once for each model; 8 when 0.
	Slots int `yaml:"slots"`
	// Repository has this worker load models there before use and unload them
	// afterwards, by the model repository extension. No other worker may then
	// use the same models of that server.
	Repository bool `yaml:"repository"`
}

func (t Tensors) validate(p *config.Problems, prefix string) {
	p.Check(t.Slots > 0 && t.Slots <= 1024, prefix+".slots", "must be from 1 to 1024, got %d", t.Slots)
	for name, e := range t.Endpoints {
		at := prefix + ".endpoints." + name
		p.Check(isHostPort(e.Address), at+".address", "must be host:port, got %q", e.Address)
		p.Check(e.APIKey == "" || e.TLS, at+".api_key", "must not be sent without tls")
		p.Check(e.Slots >= 0 && e.Slots <= 1024, at+".slots", "must be from 0 to 1024, got %d", e.Slots)
	}
}

func isHostPort(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// tensors returns the engine's configuration; an empty path starts none.
func (t Tensors) tensors() engine.TensorConfig {
	out := engine.TensorConfig{Slots: t.Slots, Queue: t.Queue, Endpoints: make(map[string]engine.TensorEndpoint, len(t.Endpoints))}
	if t.Path != "" {
		out.Program = t.program()
	}
	for name, e := range t.Endpoints {
		slots := e.Slots
		if slots == 0 {
			slots = defaultEndpointSlots
		}
		out.Endpoints[name] = engine.TensorEndpoint{Address: e.Address, TLS: e.TLS, Key: e.APIKey, Slots: slots, Repository: e.Repository}
	}
	return out
}
