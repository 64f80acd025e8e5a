// Package requestid carries the identifier by which one request is found again
// in every process's logs, traces, errors and audit records.
package requestid

import "context"

// MetadataKey is the gRPC metadata key, and the HTTP header in lower case,
// that carries the identifier between processes.
const MetadataKey = "x-request-id"

// MaxLen is the longest identifier accepted from outside, in characters.
const MaxLen = 128

type key struct{}

// NewContext returns ctx carrying id.
func NewContext(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, key{}, id)
}

// FromContext returns the identifier ctx carries, or "".
func FromContext(ctx context.Context) string {
	id, _ := ctx.Value(key{}).(string)
	return id
}

// Valid reports whether id is 1 to MaxLen characters of [A-Za-z0-9._-]. What
// is not valid must be replaced, never logged or sent on: it came from outside.
func Valid(id string) bool {
	if id == "" || len(id) > MaxLen {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
