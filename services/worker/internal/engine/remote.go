package engine

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
)

// Endpoint is an OpenAI-compatible server that runs already: Ollama, a
// llama-server, vLLM, or a provider's.
type Endpoint struct {
	// BaseURL is what OpenAI's paths follow, for example http://host:11434/v1.
	BaseURL string
	// Key is sent as the bearer token. It stays in this process.
	Key config.Secret
	// Slots is how many requests it is given at once.
	Slots int
	// Timeout bounds one request to it as a whole; 0 leaves that to the caller.
	Timeout time.Duration
	// Price is what its owner asks for; nil when that is nothing or not known.
	Price *Price
}

// Remote is servers that run already, by name.
type Remote struct {
	endpoints map[string]Endpoint
	queue     int
}

// DefaultEndpoint is the endpoint of specs that name none.
const DefaultEndpoint = "default"

// NewRemote returns the adapter; queue is how many requests may wait.
func NewRemote(endpoints map[string]Endpoint, queue int) *Remote {
	return &Remote{maps.Clone(endpoints), queue}
}

// Kind is openai.
func (*Remote) Kind() string { return KindOpenAI }

// Available reports whether any server is configured.
func (r *Remote) Available() error {
	if len(r.endpoints) == 0 {
		return apierr.New(apierr.FailedPrecondition, "no OpenAI-compatible server is configured")
	}
	return nil
}

// Plan connects to the endpoint that the spec names and asks it for the model
// that the spec names.
func (r *Remote) Plan(_ context.Context, m Model) (*Plan, error) {
	p := newParameters(m.Spec.GetParameters())
	name := p.text("endpoint", DefaultEndpoint)
	model := p.text("model", plainName(m.Name))
	slots := p.number("slots", 0, maxSlots)
	prefixes := prefixesOf(p)
	p.flags(nil, joined)
	if err := p.problem(); err != nil {
		return nil, err
	}
	e, ok := r.endpoints[name]
	if !ok {
		return nil, noEndpoint(name, r.endpoints)
	}
	if slots == 0 {
		slots = e.Slots
	}
	base := strings.TrimRight(e.BaseURL, "/")
	d := dialect{
		base: base, health: base + "/models", model: model, key: e.Key, idle: 3 * time.Second, proxied: true, timeout: e.Timeout,
		context: int(m.Spec.GetContextLength()), impossible: m.Impossible,
		embed:  embedDialect{batch: 64, tokens: true, shortens: true, dimensions: int(m.Spec.GetEmbeddingDimensions()), prefixes: prefixes},
		rerank: rerankDialect{batch: 100},
	}
	return &Plan{
		Connect: func(int) Engine { return newClient(d) },
		Slots:   slots, MaxInFlight: slots + r.queue, ContextLength: int(m.Spec.GetContextLength()),
		Price: e.Price,
	}, nil
}
