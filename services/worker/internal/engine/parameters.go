package engine

import (
	"maps"
	"math"
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

// number takes a whole number from 1 to high.
func (p *parameters) number(name string, fallback, high int) int {
	return p.within(name, fallback, 1, high)
}

// within takes a whole number from low to high.
func (p *parameters) within(name string, fallback, low, high int) int {
	text, ok := p.left[name]
	if !ok {
		return fallback
	}
	delete(p.left, name)
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		p.fail(name, "must be a whole number from "+strconv.Itoa(low)+" to "+strconv.Itoa(high)+", not "+strconv.Quote(text))
		return fallback
	}
	return n
}

func (p *parameters) has(name string) bool {
	_, ok := p.left[name]
	return ok
}

// peek reads a number that stays among the flags; what is no number counts as
// 1, and is refused with the flags.
func (p *parameters) peek(name string) int {
	if n, err := strconv.Atoi(p.left[name]); err == nil && n > 0 {
		return n
	}
	return 1
}

// fraction reads a share that stays among the flags; 0 when it is not given. What
// is no share is refused: as if it were not given, the worker would say its own
// beside it.
func (p *parameters) fraction(name string) float64 {
	text, ok := p.left[name]
	if !ok {
		return 0
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !(v > 0 && v <= 1) { // a NaN is within no bounds
		p.fail(name, "must be a number above 0, up to 1, not "+strconv.Quote(text))
		return 0
	}
	return v
}

// context takes the tokens of a request from the spec, or from the engine's own
// parameter of that name; 0 when neither says.
func (p *parameters) context(name string, m Model) int {
	tokens := int(m.Spec.GetContextLength())
	own := p.number(name, tokens, math.MaxInt32)
	if tokens != 0 && own != tokens {
		p.fail(name, "is "+strconv.Itoa(own)+", and the spec's context length is "+strconv.Itoa(tokens))
	}
	return own
}

// size takes a number of bytes; 0 when it is not given.
func (p *parameters) size(name string) int64 {
	return int64(p.number(name, 0, math.MaxInt64))
}

// choice takes a parameter that is one of the keys of choices.
func (p *parameters) choice(name, fallback string, choices map[string]string) string {
	v := p.text(name, fallback)
	if _, ok := choices[v]; !ok {
		p.fail(name, "must be one of "+strings.Join(slices.Sorted(maps.Keys(choices)), ", ")+", not "+strconv.Quote(v))
		return fallback
	}
	return v
}

func (p *parameters) fail(name, what string) {
	if p.err == nil {
		p.err = apierr.Invalid("spec.parameters."+name, "parameter %s %s", name, what)
	}
}

// flagStyle is how an engine's command line takes a flag's value.
type flagStyle int

const (
	// joined is --name=value: a value cannot be taken for a flag.
	joined flagStyle = iota
	// apart is --name value, as llama-server wants it. Only the check of the value
	// keeps it from being read as a flag, or its absence from taking the next one.
	apart
)

// flags turns what is left into command line flags, in order of their names,
// and refuses names that are not allowed and values that are not of the name's
// kind.
func (p *parameters) flags(allowed map[string]flagKind, style flagStyle) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(p.left)) {
		kind, ok := allowed[name]
		if !ok {
			p.fail(name, "is not allowed by this worker; allowed are "+strings.Join(slices.Sorted(maps.Keys(allowed)), ", "))
			continue
		}
		value, err := kind.check(p.left[name])
		if err != nil {
			p.fail(name, err.Error()+", not "+strconv.Quote(p.left[name]))
			continue
		}
		switch {
		case (kind.form == formSwitch || kind.form == formToggle) && value == "true":
			out = append(out, "--"+name)
		case kind.form == formSwitch:
			// Left away is what false means.
		case kind.form == formToggle:
			out = append(out, "--no-"+name)
		case style == joined:
			out = append(out, "--"+name+"="+value)
		default:
			out = append(out, "--"+name, value)
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
