// Package answertext lets a server in this process give its caller the text of an answer
// beside its message: a caller that writes the text need not make the message one.
package answertext

import (
	"context"

	"github.com/poterne/poterne/pkg/inproc"
)

// Text is an answer's text, for the one call whose context With made. It is set and read
// on the goroutine of that call.
type Text struct{ json []byte }

type key struct{}

// With returns the context of one call within the process that may answer with a text.
func With(ctx context.Context) (context.Context, *Text) {
	t := new(Text)
	return context.WithValue(ctx, key{}, t), t
}

// From returns what the caller of a server's call takes a text with; nil: it takes none,
// and the message must say everything.
func From(ctx context.Context) *Text {
	client := inproc.ClientContext(ctx)
	if client == nil {
		return nil
	}
	t, _ := client.Value(key{}).(*Text)
	return t
}

// Set gives the caller the answer's text, as JSON: its message says less then.
func (t *Text) Set(json []byte) { t.json = json }

// JSON is the answer's text; nil: its message says everything.
func (t *Text) JSON() []byte { return t.json }
