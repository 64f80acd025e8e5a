package api

import (
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// maxText bounds the text that is kept of an answer that can be continued; a
// longer one cannot.
const maxText = 1 << 20

// answer is what the caller has of an answer, as the workers tell it beside the
// chunks.
type answer struct {
	begun bool
	// usage is what was told with the last chunk passed on.
	usage *commonv1.TokenUsage
	// stopped says that the answer's text is whole.
	stopped bool

	// continuable says that another worker can go on, from text.
	continuable   bool
	text          []byte
	head          *workerv1.ChunkHead
	continuations int32
}

// add notes that the caller has the chunk in msg.
func (a *answer) add(msg *workerv1.InvokeStreamResponse) {
	if !a.begun {
		a.begun, a.head = true, msg.GetHead()
	}
	if u := msg.GetUsage(); u != nil {
		a.usage = u
	}
	a.stopped = a.stopped || msg.GetStopped()
	if msg.GetNotContinuable() || len(a.text)+len(msg.GetText()) > maxText {
		a.continuable, a.text = false, nil
	}
	if a.continuable {
		a.text = append(a.text, msg.GetText()...)
	}
}

// continuation is the beginning for the worker that goes on.
func (a *answer) continuation() *workerv1.Continuation {
	return &workerv1.Continuation{Text: string(a.text), Usage: a.usage, Head: a.head}
}
