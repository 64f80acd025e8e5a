package authn

import (
	"context"

	"github.com/poterne/poterne/pkg/inproc"
)

// Errand is a request that the gateway makes of itself on behalf of somebody who is
// not there: a line of a batch.
type Errand struct {
	// Principal is whom it is for, as they are now.
	Principal Principal
	// ID is the errand's own: what it uses is counted once, however often it is asked.
	ID string
	// Batch and Line say which.
	Batch string
	Line  int64
}

type errandKey struct{}

// NewErrand returns ctx carrying e, for a request within this process. Nobody outside
// can make one: it is no metadata.
func NewErrand(ctx context.Context, e Errand) context.Context {
	return context.WithValue(ctx, errandKey{}, &e)
}

// ErrandFrom returns the errand that a request is, or a call that was made for it in
// this process; nil: it is none. It must not be changed.
func ErrandFrom(ctx context.Context) (*Errand, bool) {
	if e, ok := ctx.Value(errandKey{}).(*Errand); ok {
		return e, true
	}
	if client := inproc.ClientContext(ctx); client != nil {
		e, ok := client.Value(errandKey{}).(*Errand)
		return e, ok
	}
	return nil, false
}
