package gateway

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/poterne/poterne/services/edge/internal/firewall"
)

// route is one line of the table of REST calls.
type route struct {
	method   string
	template string // as the contract has it; the bounded name of the route
	span     string // what its requests' spans are called
	rpc      string // /package.Service/Method; "" for pages of our own
	segments []string
	verb     string
	profile  firewall.Profile
}

// name is the route as operators and the contract name it.
func (r *route) name() string { return r.method + " " + r.template }

// routes is the table, made from the contract's google.api.http options. The
// grpc-gateway has one of its own; this one also answers which methods a path
// has, and names routes for metrics.
type routes []route

// literal are the routes whose path has no variable part and no verb: nothing says more
// about such a path, so it need not be looked for.
type literal map[place]*route

// place is where a request goes, by its method and its whole path.
type place struct{ method, path string }

// nameSpans gives all of them the names of their spans.
func (rs routes) nameSpans() {
	for i := range rs {
		rs[i].span = spanPrefix + rs[i].template
	}
}

// spanPrefix begins the name of a request's span.
const spanPrefix = "HTTP "

func (rs routes) literal() literal {
	out := make(literal)
	for i := range rs {
		r := &rs[i]
		if key := (place{r.method, r.template}); r.verb == "" && !strings.Contains(r.template, "{") && out[key] == nil {
			out[key] = r
		}
	}
	return out
}

// add adds every binding of the service's methods.
func (rs *routes) add(service protoreflect.ServiceDescriptor) error {
	for i := range service.Methods().Len() {
		m := service.Methods().Get(i)
		rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
		if !ok || rule.GetPattern() == nil {
			continue
		}
		if len(rule.GetAdditionalBindings()) > 0 {
			return fmt.Errorf("gateway: %s has additional bindings", m.FullName())
		}
		rpc := "/" + string(service.FullName()) + "/" + string(m.Name())
		if err := rs.rule(rule, rpc); err != nil {
			return err
		}
	}
	return nil
}

func (rs *routes) rule(rule *annotations.HttpRule, rpc string) error {
	switch p := rule.GetPattern().(type) {
	case *annotations.HttpRule_Get:
		rs.page("GET", p.Get, rpc)
	case *annotations.HttpRule_Post:
		rs.page("POST", p.Post, rpc)
	case *annotations.HttpRule_Put:
		rs.page("PUT", p.Put, rpc)
	case *annotations.HttpRule_Patch:
		rs.page("PATCH", p.Patch, rpc)
	case *annotations.HttpRule_Delete:
		rs.page("DELETE", p.Delete, rpc)
	default:
		return fmt.Errorf("gateway: %s: a binding of this kind is not supported", rpc)
	}
	return nil
}

// page adds one route.
func (rs *routes) page(method, template, rpc string) {
	r := route{method: method, template: template, rpc: rpc}
	path := template
	if i := strings.LastIndexByte(path, ':'); i > strings.LastIndexByte(path, '/') && i > strings.LastIndexByte(path, '}') {
		path, r.verb = path[:i], path[i:]
	}
	r.segments = strings.Split(strings.TrimPrefix(path, "/"), "/")
	*rs = append(*rs, r)
}

// find returns the route of a request, or the methods that the path has; none
// when there is no such path. The path is as it came, percent signs and all.
func (rs routes) find(method, path string) (*route, []string) {
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if method == "HEAD" {
		method = "GET"
	}
	var best *route
	var allowed []string
	for i := range rs {
		r := &rs[i]
		if !r.matches(segments) {
			continue
		}
		if r.method == method && (best == nil || r.specific() > best.specific()) {
			best = r
		}
		if !slices.Contains(allowed, r.method) {
			allowed = append(allowed, r.method)
		}
	}
	if best != nil {
		return best, nil
	}
	if rs.unknownVerb(segments) {
		return nil, nil
	}
	if slices.Contains(allowed, "GET") {
		allowed = append(allowed, "HEAD")
	}
	if len(allowed) > 0 {
		allowed = append(allowed, "OPTIONS")
	}
	slices.Sort(allowed)
	return nil, allowed
}

// unknownVerb reports whether the path is one to which calls are made by a verb
// that follows a colon, with a verb that is none of them: nothing is there,
// under any method.
func (rs routes) unknownVerb(segments []string) bool {
	last := len(segments) - 1
	colon := strings.LastIndexByte(segments[last], ':')
	if colon < 0 {
		return false
	}
	for i := range rs {
		r := &rs[i]
		if r.verb == "" {
			continue
		}
		with := slices.Clone(segments)
		with[last] = segments[last][:colon] + r.verb
		if r.matches(with) {
			return segments[last][colon:] != r.verb
		}
	}
	return false
}

func (r *route) matches(segments []string) bool {
	if len(segments) != len(r.segments) {
		return false
	}
	last := len(segments) - 1
	for i, want := range r.segments {
		got := segments[i]
		if i == last && r.verb != "" {
			var ok bool
			if got, ok = strings.CutSuffix(got, r.verb); !ok {
				return false
			}
		}
		if strings.HasPrefix(want, "{") {
			if got == "" {
				return false
			}
			continue
		}
		if got != want {
			return false
		}
	}
	return true
}

// specific ranks routes that match the same path: more literal segments, and a
// verb, say more.
func (r *route) specific() int {
	n := 0
	for _, s := range r.segments {
		if !strings.HasPrefix(s, "{") {
			n += 2
		}
	}
	if r.verb != "" {
		n++
	}
	return n
}
