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
	case *Place:
		return v.id
	}
	return ""
}

// Place is where the identifier of a call that has come is, which is read a step after the
// call began. It is filled before the call goes on to other goroutines. The zero value is
// empty.
type Place struct{ id, proposed string }

// ID is the identifier, or "".
func (p *Place) ID() string { return p.id }

// Fill puts the identifier into a place, which is empty.
func (p *Place) Fill(id string) { p.id = id }

// Propose has Proposed return id: a call within the process is of a request that has one.
func (p *Place) Propose(id string) { p.proposed = id }

// Proposed returns the identifier that was proposed for the call that ctx is of, or "".
func Proposed(ctx context.Context) string {
	if p, ok := ctx.Value(placeKey{}).(*Place); ok {
		return p.proposed
	}
	return ""
}

// Value is what a context with a place in it returns for the keys of this package, nil for
// any other and, of the identifier, while there is none.
func (p *Place) Value(k any) any {
	switch k.(type) {
	case key:
		if p.id != "" {
			return p
		}
	case placeKey:
		return p
	}
	return nil
}

// held is a context with a place.
type held struct {
	context.Context //nolint:containedctx // it is a context
	place           Place
}

func (h *held) Value(k any) any {
	if v := h.place.Value(k); v != nil {
		return v
	}
	return h.Context.Value(k)
}

type placeKey struct{}

// Hold returns ctx with a place that is empty: ctx itself when it has one.
func Hold(ctx context.Context) (context.Context, *Place) {
	if p, ok := ctx.Value(placeKey{}).(*Place); ok && p.id == "" {
		return ctx, p
	}
	h := &held{Context: ctx}
	return h, &h.place
}

// Fill returns ctx carrying id, which is ctx itself when it has an empty place for it.
func Fill(ctx context.Context, id string) context.Context {
	if p, ok := ctx.Value(placeKey{}).(*Place); ok && p.id == "" {
		p.id = id
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
