package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr/httperr"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/services/edge/internal/sse"
)

// done is the last event of a stream that is whole.
const done = "[DONE]"

// startStream opens a call and writes what it answers as server-sent events.
// Until the first message there is no status yet, so that a failure by then is
// an ordinary answer; one after it is an event of its own, and the stream ends
// without its last event. A client that leaves, or stops reading for longer
// than the write timeout, ends the call and with it the work on the engine.
//
// Before the first message there are no comments to keep the stream alive, on
// purpose. The first byte decides the status and the header: a client that was
// given 200 can be told neither 503 nor 429 any more, on which the SDKs try
// again, nor which version serves it, and a request that waits for a model to be
// loaded ends in just these. What a long prompt needs instead is a proxy that
// waits for a header as long as the edge works (deadlines.generate), as those in
// deploy/ do.
func startStream[T any, M interface {
	*T
	proto.Message
}](h *handler, w *writer, r *http.Request, shape eventShape, open func(context.Context) (grpc.ServerStreamingClient[T], error),
) {
	ctx, cancel := context.WithCancel(h.callContext(r.Context(), r.Header))
	defer cancel()
	call, err := open(ctx)
	if err != nil {
		writeError(w, r, err)
		return
	}
	// One message at a time is taken from the call: what a slow client has not
	// read yet holds the engine up, and not our memory.
	events := make(chan event)
	go func() {
		for first := true; ; first = false {
			msg, err := call.Recv()
			e := event{msg: M(msg), err: err}
			if first {
				// Asked for here: on a connection within the process Header waits for a
				// Recv that is under way.
				e.header, _ = call.Header() // without one the answer lacks it, which is all
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	var first event
	select {
	case first = <-events:
	case <-ctx.Done():
		first.err = context.Cause(ctx)
	}
	copyHeader(w.Header(), first.header)
	if first.err != nil && !errors.Is(first.err, io.EOF) {
		writeError(w, r, first.err)
		return
	}
	h.metrics.StreamOpened(ctx)
	defer h.metrics.StreamClosed(ctx)
	s := &stream{handler: h, out: sse.New(w), shape: shape}
	s.run(ctx, first, events)
}

// event is what one receive gave: a message, or the end; and with the first one
// the call's header.
type event struct {
	msg    proto.Message
	err    error
	header metadata.MD
}

// stream is an answer on its way.
type stream struct {
	handler *handler
	out     *sse.Writer
	shape   eventShape
	buf     []byte
}

// eventShape is how the clients of a path read events.
type eventShape struct {
	// name is the type of a message's event; nil: events have none.
	name func(msg proto.Message) string
	// fail writes an error into a stream.
	fail func(out *sse.Writer, err error, requestID string) error
	// end writes what follows the last message.
	end func(out *sse.Writer) error
}

// openAIEvents have no types; a failure is one like the others, as OpenAI's SDKs
// expect it.
func openAIEvents() eventShape {
	return eventShape{
		fail: func(out *sse.Writer, err error, id string) error { return out.Event(httperr.OpenAIBody(err, id)) },
		end:  endDone,
	}
}

// problemEvents tell failures in an event of its own type.
func problemEvents() eventShape {
	return eventShape{
		fail: func(out *sse.Writer, err error, id string) error {
			return out.Named("error", httperr.ProblemBody(err, id))
		},
		end: endDone,
	}
}

func endDone(out *sse.Writer) error { return out.Event([]byte(done)) }

// run writes events until the end. A write that fails means that the client is
// gone: there is nobody left to tell.
func (s *stream) run(ctx context.Context, first event, events <-chan event) {
	if s.out.Begin() != nil {
		return
	}
	if more, err := s.write(ctx, first); err != nil || !more {
		return
	}
	quiet := s.handler.Clock.NewTimer(s.handler.cfg.KeepAlive)
	defer quiet.Stop()
	for {
		select {
		case e := <-events:
			if more, err := s.write(ctx, e); err != nil || !more {
				return
			}
		case <-quiet.C():
			if s.out.Comment(keepAlive) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
		quiet.Reset(s.handler.cfg.KeepAlive)
	}
}

// keepAlive is what a stream says when it has nothing to say.
const keepAlive = "keep-alive"

// write sends one event and reports whether more may come.
func (s *stream) write(ctx context.Context, e event) (more bool, err error) {
	switch {
	case errors.Is(e.err, io.EOF):
		return false, s.shape.end(s.out)
	case e.err != nil:
		return false, s.fail(ctx, e.err)
	}
	if s.buf, err = s.handler.Codec.Append(s.buf[:0], e.msg); err != nil {
		return false, s.fail(ctx, err)
	}
	if s.shape.name != nil {
		return true, s.out.Named(s.shape.name(e.msg), s.buf)
	}
	return true, s.out.Event(s.buf)
}

// fail tells of a failure inside the stream.
func (s *stream) fail(ctx context.Context, err error) error {
	return s.shape.fail(s.out, err, requestid.FromContext(ctx))
}
