package telemetry

import (
	"context"

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
func Incoming(ctx context.Context) IncomingCarrier { return IncomingCarrier{ctx} }

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
