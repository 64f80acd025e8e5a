// Package chattext lets the two sides of a call within this process give each other the
// texts that their messages were read from, or would be written as: the caller the request's,
// the server the answer's. Who has a text need not write the message again.
package chattext

import (
	"context"

	"github.com/poterne/poterne/pkg/inproc"
)

// Text is the texts of the one call whose context With made. It is used on the goroutine of
// that call.
type Text struct{ asked, answer []byte }

type key struct{}

// With returns the context of one call within the process that may answer with a text. asked
// is the request as JSON, which says what its message says, written in the same way; nil where
// that is not so. Nobody may change it from then on.
func With(ctx context.Context, asked []byte) (context.Context, *Text) {
	t := &Text{asked: asked}
	return context.WithValue(ctx, key{}, t), t
}

// From returns the texts of a server's call; nil: its caller has and takes none, and the
// messages say everything.
func From(ctx context.Context) *Text {
	client := inproc.ClientContext(ctx)
	if client == nil {
		return nil
	}
	t, _ := client.Value(key{}).(*Text)
	return t
}

// Take returns the request's text, once: it may be large, and an answer may last. nil: there
// is none.
func (t *Text) Take() []byte {
	if t == nil {
		return nil
	}
	asked := t.asked
	t.asked = nil
	return asked
}

// Set gives the caller the answer's text, as JSON: its message says less then.
func (t *Text) Set(json []byte) { t.answer = json }

// JSON is the answer's text; nil: its message says everything.
func (t *Text) JSON() []byte { return t.answer }
