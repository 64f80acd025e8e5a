package telemetry

import "google.golang.org/grpc/metadata"

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
