package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr/httperr"
	"github.com/poterne/poterne/pkg/inproc"
	"github.com/poterne/poterne/pkg/requestid"
	"github.com/poterne/poterne/services/edge/internal/sse"
)

// done is the last event of a stream that is whole.
const done = "[DONE]"

// startStream makes a call and writes what it answers as server-sent events, on the
// request's own goroutine: an event that nothing follows at once has left when the
// call goes on, so that a slow client holds the engine up, and not our memory.
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
//
// The request is used up. ctx is r's, with what the call is told beside it.
func startStream(ctx context.Context, h *handler, w *writer, r *http.Request, shape eventShape, method string, req proto.Message) {
	s := &stream{handler: h, ctx: ctx, w: w, out: sse.New(w, h.buffers), shape: shape}
	defer s.close()
	header, err := inproc.Push(s.ctx, h.Conn, method, h.handed(s.ctx, r.Header), req, s) //nolint:contextcheck // it is the request's
	s.end(r, header, err)
}

// stream is an answer on its way.
type stream struct {
	handler *handler
	ctx     context.Context //nolint:containedctx // the timer needs it, too
	w       *writer
	shape   eventShape

	mu   sync.Mutex // of what the timer uses
	out  *sse.Writer
	call *inproc.Direct // nil before the answer begins
	// quiet fires when nothing was written for a while; nil before the answer begins.
	quiet *time.Timer
	over  bool // nothing may be written any more
	// broken is why an answer could not be written.
	broken error
}

// textual is an answer that is there as its text already.
type textual interface{ JSON() []byte }

// Take writes an answer, with those before it that have not left yet.
func (s *stream) Take(d *inproc.Direct, answer any) error {
	msg, ok := answer.(proto.Message)
	if !ok {
		return fmt.Errorf("gateway: %T is no message", answer)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet == nil { // the header is put together for who asks
		s.call = d
		s.begin(d.TakeHeader())
	}
	if s.broken = s.write(msg); s.broken != nil {
		return s.broken
	}
	if d.Held() && s.out.Len() < maxTogether {
		return nil
	}
	return s.flush()
}

// Flush sends what waits for more.
func (s *stream) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.Len() == 0 {
		return nil
	}
	return s.flush()
}

// maxTogether is how many bytes wait for more at most.
const maxTogether = 64 << 10

// begin begins the stream with its first event.
func (s *stream) begin(header metadata.MD) {
	if s.quiet != nil {
		return
	}
	copyHeader(s.w.Header(), header)
	s.handler.metrics.StreamOpened(s.ctx)
	s.out.Begin()
	s.quiet = time.AfterFunc(s.handler.cfg.KeepAlive, s.comment) //nolint:forbidigo // a goroutine for each stream would wait for the clock's
}

// write puts one event among those that leave together.
func (s *stream) write(msg proto.Message) error {
	name := ""
	if s.shape.name != nil {
		name = s.shape.name(msg)
	}
	if text, ok := msg.(textual); ok {
		s.out.Named(name, text.JSON())
		return nil
	}
	return s.out.Encode(name, func(b []byte) ([]byte, error) { return s.handler.Codec.Append(b, msg) })
}

// flush sends the events. When it fails the client is gone: there is nobody left to
// tell.
func (s *stream) flush() error {
	if s.over {
		return errGone
	}
	if err := s.out.Flush(); err != nil {
		s.over = true
		return err
	}
	s.quiet.Reset(s.handler.cfg.KeepAlive)
	return nil
}

var errGone = errors.New("gateway: the client is gone")

// comment says that the stream lives.
func (s *stream) comment() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.ctx.Err() != nil {
		return
	}
	s.out.Comment(keepAlive)
	if s.flush() != nil && s.call != nil {
		s.call.Cancel()
	}
}

// keepAlive is what a stream says when it has nothing to say.
const keepAlive = "keep-alive"

// end answers with the call's last word.
func (s *stream) end(r *http.Request, header metadata.MD, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		err = s.broken
	}
	switch {
	case s.over || s.quiet != nil && s.ctx.Err() != nil:
		return
	case s.quiet == nil && err != nil:
		copyHeader(s.w.Header(), header)
		writeError(s.w, r, err)
		return
	case err != nil:
		s.shape.fail(s.out, err, requestid.FromContext(s.ctx))
	default:
		s.begin(header)
		s.shape.end(s.out)
	}
	// It leaves with the end of the answer, which follows at once.
	_ = s.out.Leave()
	s.over = true
}

// close lets nothing be written any more.
func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.quiet != nil {
		s.quiet.Stop()
		s.handler.metrics.StreamClosed(s.ctx)
	}
}

// eventShape is how the clients of a path read events.
type eventShape struct {
	// name is the type of a message's event; nil: events have none.
	name func(msg proto.Message) string
	// fail writes an error into a stream.
	fail func(out *sse.Writer, err error, requestID string)
	// end writes what follows the last message.
	end func(out *sse.Writer)
}

// openAIEvents have no types; a failure is one like the others, as OpenAI's SDKs
// expect it.
func openAIEvents() eventShape {
	return eventShape{
		fail: func(out *sse.Writer, err error, id string) { out.Event(httperr.OpenAIBody(err, id)) },
		end:  endDone,
	}
}

// problemEvents tell failures in an event of its own type.
func problemEvents() eventShape {
	return eventShape{
		fail: func(out *sse.Writer, err error, id string) { out.Named("error", httperr.ProblemBody(err, id)) },
		end:  endDone,
	}
}

func endDone(out *sse.Writer) { out.Event([]byte(done)) }
