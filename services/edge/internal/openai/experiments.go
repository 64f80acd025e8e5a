package openai

import (
	"context"
	"regexp"
	"slices"

	"google.golang.org/grpc/metadata"

	"github.com/poterne/poterne/pkg/config"
)

// The bounds on the headers that experiments may look at.
const (
	maxExperimentHeaders     = 16
	maxExperimentHeaderValue = 256
)

// headerName is a header's name in lower case, as experiments write it.
var headerName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// neverForwarded hold credentials, or what only services tell each other.
func neverForwarded() []string {
	return []string{"authorization", "cookie", "proxy-authorization", "x-api-key", "poterne-caller-bin"}
}

// Validate checks the configuration.
func (c Config) Validate(p *config.Problems, prefix string) {
	path := prefix + ".experiment_headers"
	p.Check(len(c.ExperimentHeaders) <= maxExperimentHeaders, path, "must hold at most %d names, got %d",
		maxExperimentHeaders, len(c.ExperimentHeaders))
	for _, name := range c.ExperimentHeaders {
		p.Check(headerName.MatchString(name), path, "must hold names of headers in lower case, got %q", name)
		p.Check(!slices.Contains(neverForwarded(), name), path, "must not hold %q: it carries credentials", name)
	}
}

// Headers are the headers that are passed on from HTTP.
func (c Config) Headers() []string { return slices.Concat(HintHeaders(), c.ExperimentHeaders) }

// ExperimentHeadersOf returns what experiments may look at. A header that comes twice,
// or that is too long for any value it is compared with, is none: it decides where a
// request goes and is no reason to refuse it.
func (c Config) ExperimentHeadersOf(ctx context.Context) map[string]string {
	var out map[string]string
	for _, name := range c.ExperimentHeaders {
		values := metadata.ValueFromIncomingContext(ctx, name)
		if len(values) != 1 || len(values[0]) > maxExperimentHeaderValue {
			continue
		}
		if out == nil {
			out = make(map[string]string, len(c.ExperimentHeaders))
		}
		out[name] = values[0]
	}
	return out
}
