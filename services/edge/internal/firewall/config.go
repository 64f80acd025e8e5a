package firewall

import (
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/config"
)

// Mode is what is done about a request that the rules are against.
type Mode string

// The modes.
const (
	// Off judges nothing.
	Off Mode = "off"
	// Detect lets it through, and notes it in the audit trail.
	Detect Mode = "detect"
	// Block refuses it.
	Block Mode = "block"
)

// Config is the section "waf".
type Config struct {
	Mode Mode `yaml:"mode"`
	// Paranoia is the level of the rules, 1 to 4: each finds more, and errs more.
	Paranoia int `yaml:"paranoia"`
	// Threshold is the anomaly score from which on a request is blocked; one finding
	// that is critical counts 5.
	Threshold int `yaml:"threshold"`
	// MaxBodyBytes bounds bodies that are judged in full; larger ones are refused.
	MaxBodyBytes config.Bytes `yaml:"max_body_bytes"`
	// Exclusions are rules that do not hold somewhere.
	Exclusions []Exclusion `yaml:"exclusions"`
	// Profiles change how much of a route's requests is judged: route → full, prompt
	// or none.
	Profiles map[string]Profile `yaml:"profiles"`
	// DirectivesFile is a file of further rules in SecLang, read after the rule set's
	// settings and before its rules. The variable UNIQUE_ID is the route.
	DirectivesFile string `yaml:"directives_file"`
}

// Exclusion says where a rule does not hold.
type Exclusion struct {
	// Routes are methods and paths as /openapi.json has them, such as
	// `POST /v1/collections/{collection}:search`; none: every route.
	Routes []string `yaml:"routes"`
	// Rules are ids, or ranges of them such as 942100-942190.
	Rules []string `yaml:"rules"`
	// Targets narrow it to parts of the request, such as ARGS:json.query or
	// REQUEST_HEADERS:Referer; none: everything.
	Targets []string `yaml:"targets"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{Mode: Off, Paranoia: 1, Threshold: 5, MaxBodyBytes: 64 * config.KiB}
}

// Validate notes what is wrong; prefix is the section's path.
func (c Config) Validate(p *config.Problems, prefix string) {
	p.Check(slices.Contains([]Mode{Off, Detect, Block}, c.Mode), prefix+".mode", "must be off, detect or block, got %q", c.Mode)
	p.Check(c.Paranoia >= 1 && c.Paranoia <= 4, prefix+".paranoia", "must be from 1 to 4, got %d", c.Paranoia)
	p.Check(c.Threshold >= 1 && c.Threshold <= 1000, prefix+".threshold", "must be from 1 to 1000, got %d", c.Threshold)
	p.Check(c.MaxBodyBytes >= config.KiB && c.MaxBodyBytes <= config.MiB, prefix+".max_body_bytes",
		"must be from 1KiB to 1MiB, got %v", c.MaxBodyBytes)
	p.Check(len(c.Exclusions) <= maxExclusions, prefix+".exclusions", "must be at most %d, got %d", maxExclusions, len(c.Exclusions))
	for _, e := range c.Exclusions {
		e.validate(p, prefix+".exclusions")
	}
	for route, profile := range c.Profiles {
		p.Check(routeLike(route), prefix+".profiles", "%q is not a method and a path", route)
		p.Check(slices.Contains([]Profile{Full, Prompt, None}, profile), prefix+".profiles",
			"%s must be full, prompt or none, got %q", route, profile)
	}
}

const maxExclusions = 1000

func (e Exclusion) validate(p *config.Problems, prefix string) {
	for _, r := range e.Routes {
		p.Check(routeLike(r), prefix+".routes", "%q is not a method and a path, such as GET /v1/models", r)
	}
	p.Check(len(e.Rules) > 0, prefix+".rules", "must not be empty")
	for _, r := range e.Rules {
		p.Check(ruleLike(r), prefix+".rules", "%q is neither a rule's id nor a range of them", r)
	}
	for _, t := range e.Targets {
		p.Check(targetLike(t), prefix+".targets", "%q is not a part of a request, such as ARGS:json.query", t)
	}
}

// routeLike also keeps out what could end the directive that it becomes part of.
func routeLike(s string) bool {
	method, path, ok := strings.Cut(s, " ")
	return ok && method != "" && strings.HasPrefix(path, "/") && len(s) < 256 && !strings.ContainsAny(s, "\"'`\\\n\r\t%")
}

func ruleLike(s string) bool {
	from, to, isRange := strings.Cut(s, "-")
	first, err := strconv.Atoi(from)
	if err != nil || first < 1 {
		return false
	}
	if !isRange {
		return true
	}
	last, err := strconv.Atoi(to)
	return err == nil && last >= first
}

func targetLike(s string) bool {
	return s != "" && len(s) < 256 && strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.:/", r)
	}) < 0
}
