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
	switch v := ctx.Value(key{}).(type) {
	case string:
		return v
	case *Held:
		return v.id
	}
	return ""
}

// Held is a context with a place for the identifier of a call that has come, which is read
// a step later. The place is filled before the call goes on to other goroutines.
type Held struct {
	context.Context //nolint:containedctx // it is a context
	id              string
}

// Hold returns ctx with a place that is empty.
func Hold(ctx context.Context) *Held { return &Held{Context: ctx} }

// Value returns itself for the identifier, once there is one.
func (h *Held) Value(k any) any {
	switch k.(type) {
	case key:
		if h.id != "" {
			return h
		}
	case heldKey:
		return h
	}
	return h.Context.Value(k)
}

// ID is the identifier, or "".
func (h *Held) ID() string { return h.id }

type heldKey struct{}

// Fill returns ctx carrying id, which is ctx itself when it has an empty place for it.
func Fill(ctx context.Context, id string) context.Context {
	if h, ok := ctx.Value(heldKey{}).(*Held); ok && h.id == "" {
		h.id = id
		return ctx
	}
	return NewContext(ctx, id)
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
