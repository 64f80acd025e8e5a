package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/pkg/telemetry"
	"github.com/poterne/poterne/services/edge/internal/limit"
	"github.com/poterne/poterne/services/edge/internal/metering"
)

const authorization = "authorization"

// hint is a header that goes along, by its names in metadata and over HTTP.
type hint struct{ key, header string }

// usualMetadata is how many keys a call's metadata has room for at once.
const usualMetadata = 8

// callMetadata returns what of an HTTP request goes with the call, the
// credentials apart: nothing that was not asked for, so that no header of a
// client passes for one of ours.
func (h *handler) callMetadata(ctx context.Context, header http.Header) metadata.MD {
	md := make(metadata.MD, usualMetadata)
	md[requestid.MetadataKey] = []string{requestid.FromContext(ctx)}
	for _, name := range h.hints {
		if values := header[name.header]; len(values) > 0 {
			md[name.key] = values
		}
	}
	h.Telemetry.Propagator.Inject(ctx, telemetry.MetadataCarrier(md))
	return md
}

// handed is the metadata of a call that is handed over for a request that the door let in:
// the connection passes on what the call is part of, and the door who asks, so that of
// most requests there is none.
func (h *handler) handed(ctx context.Context, header http.Header) metadata.MD {
	if !h.same {
		return h.wholeMetadata(ctx, header)
	}
	var md metadata.MD
	for _, name := range h.hints {
		if values := header[name.header]; len(values) > 0 {
			if md == nil {
				md = make(metadata.MD, usualMetadata)
			}
			md[name.key] = values
		}
	}
	return md
}

// callContext returns the context of a call made for a request with the given
// header, without the grpc-gateway.
func (h *handler) callContext(ctx context.Context, header http.Header) context.Context {
	return metadata.NewOutgoingContext(ctx, h.wholeMetadata(ctx, header))
}

// wholeMetadata is callMetadata with the credentials.
func (h *handler) wholeMetadata(ctx context.Context, header http.Header) metadata.MD {
	md := h.callMetadata(ctx, header)
	if values := header["Authorization"]; len(values) > 0 {
		md[authorization] = values
	}
	return md
}

// hander is a connection that takes a call's metadata as it is, in place of what its
// context has, and need not copy it. The deadline is the context's where it is zero.
type hander interface {
	Hand(ctx context.Context, md metadata.MD, deadline time.Time, method string, args, reply any, opts ...grpc.CallOption) error
}

// invoke makes a unary call for a request with the given header.
func (h *handler) invoke(ctx context.Context, header http.Header, method string, req, resp any, opts ...grpc.CallOption) error {
	md := h.handed(ctx, header)
	if conn, ok := h.Conn.(hander); ok {
		return conn.Hand(ctx, md, time.Time{}, method, req, resp, opts...)
	}
	return h.Conn.Invoke(metadata.NewOutgoingContext(ctx, md), method, req, resp, opts...)
}

// withArrival notes the client's address, and how its request came in, for the
// steps behind the connection.
func (h *handler) withArrival(ctx context.Context, r *http.Request) context.Context {
	ctx = h.Addresses.Arrived(ctx, r)
	h.Possession.Strip(ctx, r.Header)
	return ctx
}

// ResponseHeaders are the keys of a call's header that become headers of the
// HTTP answer, besides those that begin with x-ratelimit- or x-poterne-.
func responseHeaders() []string {
	return []string{"ratelimit", "ratelimit-policy", "www-authenticate", "dpop-nonce", "age", "cache-control", "set-cookie"}
}

// outgoing returns the HTTP header that a key of a call's header becomes.
func outgoing(key string) (string, bool) {
	if name := usual(key); name != "" {
		return name, true
	}
	key = strings.ToLower(key)
	if strings.HasPrefix(key, "x-ratelimit-") || strings.HasPrefix(key, "x-poterne-") ||
		slices.Contains(responseHeaders(), key) {
		return http.CanonicalHeaderKey(key), true
	}
	return "", false
}

// usual is the HTTP header of what nearly every answer has; empty for other keys.
func usual(key string) string {
	switch key {
	case limit.HeaderRateLimit:
		return "Ratelimit"
	case limit.HeaderRateLimitPolicy:
		return "Ratelimit-Policy"
	case "x-ratelimit-limit-requests":
		return "X-Ratelimit-Limit-Requests"
	case "x-ratelimit-remaining-requests":
		return "X-Ratelimit-Remaining-Requests"
	case "x-ratelimit-reset-requests":
		return "X-Ratelimit-Reset-Requests"
	case "x-poterne-model":
		return "X-Poterne-Model"
	case "x-poterne-cache":
		return "X-Poterne-Cache"
	case "x-poterne-arm":
		return "X-Poterne-Arm"
	case metering.HeaderCost:
		return "X-Poterne-Cost"
	default:
		return ""
	}
}

// copyHeader adds a call's header to the answer's.
func (w *writer) copyHeader(md metadata.MD) { copyHeader(w.Header(), md) }

// copyHeader puts a call's header into the answer's.
func copyHeader(h http.Header, md metadata.MD) {
	for key, values := range md {
		setHeader(h, key, values)
	}
}

// setHeader puts a key of a call's header into the answer's.
func (w *writer) setHeader(key string, values []string) { setHeader(w.Header(), key, values) }

func setHeader(h http.Header, key string, values []string) {
	if name, ok := outgoing(key); ok {
		h[name] = values // which nobody changes: the call has ended
	}
}

// callsControl has a call's Cache-Control take the place of the one that answers have
// without: the grpc-gateway adds to a header.
func callsControl(_ context.Context, w http.ResponseWriter, _ proto.Message) error {
	if all := w.Header()["Cache-Control"]; len(all) > 1 {
		w.Header()["Cache-Control"] = all[len(all)-1:]
	}
	return nil
}

// nothing of a request's headers is passed on by the grpc-gateway itself.
func noHeader(string) (string, bool) { return "", false }
