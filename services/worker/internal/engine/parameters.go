package engine

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// parameters are a spec's engine parameters, of which each is to be taken once.
type parameters struct {
	left map[string]string
	err  *apierr.Error
}

func newParameters(from map[string]string) *parameters {
	return &parameters{left: maps.Clone(from)}
}

func (p *parameters) text(name, fallback string) string {
	v, ok := p.left[name]
	if !ok {
		return fallback
	}
	delete(p.left, name)
	return v
}

// number takes a whole number from low to high.
func (p *parameters) number(name string, fallback, low, high int) int {
	text := p.text(name, "")
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		p.fail(name, "must be a whole number from "+strconv.Itoa(low)+" to "+strconv.Itoa(high)+", not "+strconv.Quote(text))
		return fallback
	}
	return n
}

func (p *parameters) fail(name, what string) {
	if p.err == nil {
		p.err = apierr.Invalid("spec.parameters."+name, "parameter %s %s", name, what)
	}
}

// flags turns what is left into command line flags, in order of their names,
// and refuses names that are not allowed. An empty value is a flag alone.
func (p *parameters) flags(allowed []string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.left)) {
		if !slices.Contains(allowed, name) {
			p.fail(name, "is not allowed by this worker; allowed are "+strings.Join(allowed, ", "))
			continue
		}
		out = append(out, "--"+name)
		if v := p.left[name]; v != "" {
			out = append(out, v)
		}
	}
	p.left = nil
	return out
}

// problem returns the first thing that was wrong, or nil.
func (p *parameters) problem() error {
	if p.err == nil {
		return nil
	}
	return p.err
}
