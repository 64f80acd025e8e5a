package telemetry

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc/metadata"
)

// MetadataCarrier lets a propagator read and write gRPC metadata.
type MetadataCarrier metadata.MD

// Get returns the first value: traceparent has exactly one.
func (c MetadataCarrier) Get(key string) string {
	if v := metadata.MD(c).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set replaces the key's values.
func (c MetadataCarrier) Set(key, value string) { metadata.MD(c).Set(key, value) }

// Keys lists the keys.
func (c MetadataCarrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

// IncomingCarrier lets a propagator read the metadata that came with a call, of which
// nothing is copied that it does not ask for.
type IncomingCarrier struct{ ctx context.Context } //nolint:containedctx // it reads it

// Incoming returns what reads the metadata of the call that ctx is of.
func Incoming(ctx context.Context) propagation.TextMapCarrier {
	if md, ok := ctx.Value(IncomingKey{}).(metadata.MD); ok {
		return receivedCarrier(md)
	}
	return IncomingCarrier{ctx}
}

// IncomingKey is what the context of a call in this process is asked for to find the
// metadata that came with it, without a copy of it: keys are in lower case, and nothing
// may be changed.
type IncomingKey struct{}

// FromIncoming returns the values of a key, which is in lower case, of what came with the
// call that ctx is of. They must not be changed.
func FromIncoming(ctx context.Context, key string) []string {
	if md, ok := ctx.Value(IncomingKey{}).(metadata.MD); ok {
		return md[key]
	}
	return metadata.ValueFromIncomingContext(ctx, key)
}

// receivedCarrier lets a propagator read metadata whose keys are in lower case.
type receivedCarrier metadata.MD

// Get returns the first value.
func (c receivedCarrier) Get(key string) string {
	if v := c[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set does nothing: what came is not changed.
func (receivedCarrier) Set(string, string) {}

// Keys lists the keys.
func (c receivedCarrier) Keys() []string { return MetadataCarrier(c).Keys() }

// Get returns the first value.
func (c IncomingCarrier) Get(key string) string {
	if v := metadata.ValueFromIncomingContext(c.ctx, key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set does nothing: what came is not changed.
func (IncomingCarrier) Set(string, string) {}

// Keys lists the keys.
func (c IncomingCarrier) Keys() []string {
	md, _ := metadata.FromIncomingContext(c.ctx)
	return MetadataCarrier(md).Keys()
}
