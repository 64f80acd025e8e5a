// Package firewall judges requests over HTTP by a rule set, as much of each as its
// route's profile says: administration, search and the registry in full, and of
// what carries prompts or documents only the header and the URI, since text that
// speaks about attacks is no attack. It knows no rule set (package ruleset has
// one) and answers no request. Start reading at Firewall.Judge, and at profile.go
// for which route has which profile.
package firewall

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/edge/internal/metrics"
)

// Engine judges by a rule set. Implementations are safe for concurrent use. What
// an engine answers must follow from the Request alone: it is remembered.
type Engine interface {
	Judge(r Request) (Verdict, error)
}

// Request is what of a request is judged.
type Request struct {
	// Route is its method and path as the contract has it, such as
	// `POST /v1/collections/{collection}:search`.
	Route              string
	Method, URI, Proto string
	// Header is the fields that are judged, by name; Host is among them.
	Header []Field
	// Body is empty unless the route's profile is Full. It is JSON.
	Body []byte
}

// Field is a field of a header.
type Field struct{ Name, Value string }

// Verdict is what the rules say.
type Verdict struct {
	// Block says that the request is over the threshold.
	Block bool
	// Rules are those that found something, without those that only count.
	Rules []int
}

// Finding is a rule that found something, and what was done about it, in the words
// of the audit trail: `waf/942100 block`.
type Finding string

// The bounds of what is remembered and told.
const (
	maxClean    = 4096 // headers that were found clean
	maxFindings = 16   // of one request
	maxRules    = 1000 // that a metric tells apart
)

// Firewall judges requests. A nil Firewall lets everything through. It is safe for
// concurrent use.
type Firewall struct {
	cfg     Config
	engine  Engine
	metrics *metrics.Firewall
	clean   *lru.Cache[[sha256.Size]byte, struct{}]

	mu   sync.Mutex
	seen map[int]struct{} // the rules that the metric tells apart
}

// New returns a firewall on engine, which is nil when the configuration turns the
// firewall off.
func New(cfg Config, engine Engine, m *metrics.Firewall) (*Firewall, error) {
	if cfg.Mode == Off {
		return nil, nil //nolint:nilnil // a nil firewall is one that is off
	}
	clean, err := lru.New[[sha256.Size]byte, struct{}](maxClean)
	if err != nil {
		return nil, fmt.Errorf("firewall: %w", err)
	}
	return &Firewall{cfg: cfg, engine: engine, metrics: m, clean: clean, seen: make(map[int]struct{})}, nil
}

// Profile returns how much of a request for a route is judged; rpc is the method
// that the route leads to.
func (f *Firewall) Profile(route, rpc string) Profile {
	if f == nil {
		return None
	}
	if p, ok := f.cfg.Profiles[route]; ok {
		return p
	}
	return Of(rpc)
}

// Routes returns the routes that the configuration names.
func (f *Firewall) Routes() []string {
	if f == nil {
		return nil
	}
	out := slices.Collect(maps.Keys(f.cfg.Profiles))
	for _, e := range f.cfg.Exclusions {
		out = append(out, e.Routes...)
	}
	return out
}

// MaxBodyBytes bounds the body of a request that is judged in full: the rule set
// takes milliseconds for every kilobyte.
func (f *Firewall) MaxBodyBytes() int64 { return int64(f.cfg.MaxBodyBytes) }

// Judge returns what the rules found in r, a request for route, and an error when
// it must not go on. body is what was read of it, for the profile Full.
func (f *Firewall) Judge(ctx context.Context, r *http.Request, route string, body []byte) ([]Finding, error) {
	req := Request{Route: route, Method: r.Method, URI: r.URL.RequestURI(), Proto: r.Proto, Header: header(r, len(body)), Body: body}
	var key [sha256.Size]byte
	if len(body) == 0 {
		key = fingerprint(req)
		if f.clean.Contains(key) {
			return nil, nil
		}
	}
	verdict, err := f.engine.Judge(req)
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the firewall cannot judge this request")
	}
	if len(verdict.Rules) == 0 && !verdict.Block {
		if len(body) == 0 {
			f.clean.Add(key, struct{}{})
		}
		return nil, nil
	}
	action := "pass"
	switch {
	case verdict.Block && f.cfg.Mode == Block:
		action = "block"
		err = apierr.New(apierr.PermissionDenied, "the request was refused by the firewall; its operator finds why by the request id")
	case verdict.Block:
		action = "detect"
	}
	for _, rule := range verdict.Rules {
		f.metrics.Match(ctx, f.label(rule), action)
	}
	if !verdict.Block {
		return nil, nil
	}
	return findings(verdict.Rules, action), err
}

func findings(rules []int, action string) []Finding {
	out := make([]Finding, 0, min(len(rules), maxFindings))
	for _, rule := range rules[:min(len(rules), maxFindings)] {
		out = append(out, Finding("waf/"+strconv.Itoa(rule)+" "+action))
	}
	return out
}

// label bounds what the metric tells apart: the rules of the set are known, those
// of a file of further directives may be any.
func (f *Firewall) label(rule int) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.seen[rule]; !ok {
		if len(f.seen) >= maxRules {
			return "other"
		}
		f.seen[rule] = struct{}{}
	}
	return strconv.Itoa(rule)
}

// header returns the fields that are judged, sorted. Those that this gateway reads
// by a strict parser of its own, and uses for nothing else, are left out: they
// differ with each request, and credentials are nobody else's business.
func header(r *http.Request, body int) []Field {
	out := make([]Field, 0, len(r.Header)+3)
	out = append(out, Field{"Host", r.Host})
	for name, values := range r.Header {
		switch name {
		case "Authorization", "Dpop", "X-Request-Id", "Traceparent", "Tracestate", "X-Forwarded-For", "Forwarded", "Content-Length":
			continue
		}
		for _, v := range values {
			out = append(out, Field{name, v})
		}
	}
	switch {
	case r.ContentLength == 0 && r.Method != http.MethodGet && r.Method != http.MethodHead:
		out = append(out, Field{"Content-Length", "0"})
	case r.ContentLength != 0:
		out = append(out, Field{"Content-Length", strconv.Itoa(max(body, 1))})
		if r.Header.Get("Content-Type") == "" {
			out = append(out, Field{"Content-Type", "application/json"}) // as the gateway takes it
		}
	}
	slices.SortStableFunc(out, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// fingerprint names a request without a body: no two have the same.
func fingerprint(r Request) [sha256.Size]byte {
	b := make([]byte, 0, 1024)
	for _, s := range []string{r.Route, r.Method, r.URI, r.Proto} {
		b = append(strconv.AppendInt(b, int64(len(s)), 10), ':')
		b = append(b, s...)
	}
	for _, h := range r.Header {
		for _, s := range []string{h.Name, h.Value} {
			b = append(strconv.AppendInt(b, int64(len(s)), 10), ':')
			b = append(b, s...)
		}
	}
	return sha256.Sum256(b)
}
