// Package clientaddr says which address a request comes from, and believes only
// the proxies it was told to trust. Start reading at Resolver.
package clientaddr

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/services/edge/internal/arrival"
)

// The headers, as metadata keys, in which proxies list the addresses they saw. One
// of them is believed, never both: a proxy that writes one passes on the other as
// the client sent it.
const (
	XForwardedFor = "x-forwarded-for"
	Forwarded     = "forwarded" // RFC 7239
)

// maxHops bounds how much of a list is read, from its end.
const maxHops = 16

// Resolver finds the address of a request's client. It is safe for concurrent
// use.
type Resolver struct {
	trusted []netip.Prefix
	header  string
	http    string // the header's name over HTTP
}

// New returns a resolver that believes what the proxies in the trusted networks
// say in X-Forwarded-For about whom they serve.
func New(trusted []netip.Prefix) *Resolver { return NewFor(trusted, XForwardedFor) }

// NewFor returns a resolver that believes what they say in header, XForwardedFor or
// Forwarded.
func NewFor(trusted []netip.Prefix, header string) *Resolver {
	return &Resolver{trusted: trusted, header: header, http: http.CanonicalHeaderKey(header)}
}

// Header is the header that proxies are believed by: XForwardedFor or Forwarded.
func (r *Resolver) Header() string { return r.header }

// Trusts reports whether addr is one of the trusted proxies.
func (r *Resolver) Trusts(addr netip.Addr) bool { return r.trusts(addr) }

// Origin returns the scheme and the host that the client of req used, which are the
// connection's own unless a trusted proxy says otherwise: in X-Forwarded-Proto and
// X-Forwarded-Host, each of which must be one value.
func (r *Resolver) Origin(req *http.Request) (scheme, host string) {
	scheme, host = "http", req.Host
	if req.TLS != nil {
		scheme = "https"
	}
	if !r.trusts(parse(req.RemoteAddr)) {
		return scheme, host
	}
	if v := req.Header.Values("X-Forwarded-Proto"); len(v) == 1 && (v[0] == "http" || v[0] == "https") {
		scheme = v[0]
	}
	if v := req.Header.Values("X-Forwarded-Host"); len(v) == 1 && hostLike(v[0]) {
		host = v[0]
	}
	return scheme, host
}

// hostLike reports whether s can be a host with or without a port.
func hostLike(s string) bool {
	return s != "" && len(s) <= 255 && strings.IndexFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(".-:[]", c)
	}) < 0
}

// Key is what a context is asked for to find the *netip.Addr of a request's client: for
// one that carries more than that.
type Key struct{}

// NewContext returns ctx carrying the address that FromHTTP found, for a call
// on an in-process connection.
func NewContext(ctx context.Context, addr netip.Addr) context.Context {
	return context.WithValue(ctx, Key{}, &addr)
}

// Arrived returns ctx carrying how r came in, for package arrival, and its client's
// address as NewContext does.
func (r *Resolver) Arrived(ctx context.Context, req *http.Request) context.Context {
	return &arrived{Context: ctx, arrival: arrival.Of(req), address: r.FromHTTP(req)}
}

// arrived is a context with how a request came in, and from where.
type arrived struct {
	context.Context //nolint:containedctx // it is a context
	arrival         arrival.Arrival
	address         netip.Addr
}

// Value answers for both packages.
func (a *arrived) Value(key any) any {
	switch key.(type) {
	case arrival.Key:
		return &a.arrival
	case Key:
		return &a.address
	default:
		return a.Context.Value(key)
	}
}

// FromHTTP returns the address of the client of r.
func (r *Resolver) FromHTTP(req *http.Request) netip.Addr {
	return r.resolve(parse(req.RemoteAddr), req.Header[r.http])
}

// FromContext returns the address of the client of a gRPC call: what NewContext
// put there, also when the call was made within this process, else the peer or,
// when that is a trusted proxy, the client it names. It is invalid when not known.
func (r *Resolver) FromContext(ctx context.Context) netip.Addr {
	if addr, ok := ctx.Value(Key{}).(*netip.Addr); ok {
		return *addr
	}
	if caller := inproc.ClientContext(ctx); caller != nil {
		if addr, ok := caller.Value(Key{}).(*netip.Addr); ok {
			return *addr
		}
		return netip.Addr{}
	}
	var remote netip.Addr
	if p, ok := peer.FromContext(ctx); ok && p.Addr != nil {
		remote = parse(p.Addr.String())
	}
	return r.resolve(remote, metadata.ValueFromIncomingContext(ctx, r.header))
}

// resolve walks the proxies' list from its end, where the nearest proxy wrote,
// and stops at the first address that is no trusted proxy: what stands before
// that, the client may have written itself.
func (r *Resolver) resolve(remote netip.Addr, forwarded []string) netip.Addr {
	if !r.trusts(remote) || len(forwarded) == 0 {
		return remote
	}
	var hops []string
	if r.header == Forwarded {
		hops = forwardedFor(forwarded)
	} else {
		hops = strings.Split(strings.Join(forwarded, ","), ",")
	}
	if len(hops) > maxHops {
		hops = hops[len(hops)-maxHops:]
	}
	addr := remote
	for _, text := range slices.Backward(hops) {
		hop := parse(strings.TrimSpace(text))
		if !hop.IsValid() {
			return addr
		}
		addr = hop
		if !r.trusts(hop) {
			return addr
		}
	}
	return addr
}

func (r *Resolver) trusts(addr netip.Addr) bool {
	if !addr.IsValid() {
		return false
	}
	for _, p := range r.trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// parse reads an address with or without a port.
func parse(s string) netip.Addr {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// Network returns what a limit by address counts: an IPv4 address alone, and an
// IPv6 address's /64, since one customer commonly holds all of it.
func Network(addr netip.Addr) string {
	if !addr.Is6() {
		return addr.String()
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return p.String()
}
