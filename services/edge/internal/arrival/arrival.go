// Package arrival says how a request came in: over which HTTP request, and with
// which client certificate. It judges neither. Start reading at Arrival.
package arrival

import (
	"context"
	"crypto/x509"
	"net/http"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/poterne/poterne/pkg/inproc"
)

// Arrival is how a request came in. What it points to must not be changed.
type Arrival struct {
	// Request is the HTTP request that became the call; nil for a call over gRPC.
	// Its body belongs to the gateway.
	Request *http.Request
	// Certificate is the client's, when the connection was made with one that was
	// verified; nil otherwise.
	Certificate *x509.Certificate
}

// Key is what a context is asked for to find the *Arrival of a request: for one that
// carries more than that.
type Key struct{}

// OfHTTP returns ctx carrying how r came in, for a call on an in-process
// connection.
func OfHTTP(ctx context.Context, r *http.Request) context.Context {
	a := Of(r)
	return context.WithValue(ctx, Key{}, &a)
}

// Of returns how r came in.
func Of(r *http.Request) Arrival {
	a := Arrival{Request: r}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		a.Certificate = r.TLS.VerifiedChains[0][0]
	}
	return a
}

// From returns how the request of ctx came in, also within a call that was made
// for it in this process.
func From(ctx context.Context) Arrival {
	if a, ok := ctx.Value(Key{}).(*Arrival); ok {
		return *a
	}
	if client := inproc.ClientContext(ctx); client != nil {
		if a, ok := client.Value(Key{}).(*Arrival); ok {
			return *a
		}
		return Arrival{}
	}
	var a Arrival
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.VerifiedChains) > 0 {
			a.Certificate = info.State.VerifiedChains[0][0]
		}
	}
	return a
}
