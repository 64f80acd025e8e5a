package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
)

// pieces is a call that answers with bytes, in messages.
type pieces[M interface{ GetData() []byte }] interface {
	Recv() (M, error)
	Header() (metadata.MD, error)
}

// download answers with the bytes of a call as they come. A call that fails before
// the first is an answer; one that fails later breaks the connection, since what was
// sent is not whole.
func download[M interface{ GetData() []byte }](
	h *handler, w *writer, r *http.Request, contentType string, open func(context.Context) (pieces[M], error),
) {
	ctx, cancel := context.WithCancel(h.callContext(r.Context(), r.Header))
	defer cancel()
	call, err := open(ctx)
	var piece M
	if err == nil {
		piece, err = call.Recv()
		if md, headerErr := call.Header(); headerErr == nil {
			copyHeader(w.Header(), md)
		}
	}
	if err != nil {
		writeError(w, r, err)
		return
	}
	w.Header().Set("Content-Type", contentType)
	if r.Method == http.MethodHead {
		return
	}
	h.metrics.StreamOpened(ctx)
	defer h.metrics.StreamClosed(ctx)
	for ; err == nil; piece, err = call.Recv() {
		if _, werr := w.Write(piece.GetData()); werr != nil {
			return // the client is gone
		}
	}
	if !errors.Is(err, io.EOF) {
		panic(http.ErrAbortHandler)
	}
}

// streamContext is the context of a call that a body is streamed into. A connection
// that cannot be read ends its request at once; whoever reads the body has a moment
// to say why, since that is the cause.
func (h *handler) streamContext(r *http.Request) (context.Context, context.CancelCauseFunc) {
	request := h.callContext(r.Context(), r.Header)
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(request))
	stop := context.AfterFunc(request, func() {
		_ = clock.Sleep(ctx, h.Clock, arrived)
		cancel(context.Cause(request))
	})
	return ctx, func(cause error) {
		stop()
		cancel(cause)
	}
}

// upload sends the body of a request on as it comes, however long it is, and answers
// with what told makes of the response.
func upload[Req, Resp any](
	h *handler, w *writer, r *http.Request,
	open func(context.Context) (grpc.ClientStreamingClient[Req, Resp], error),
	send func(grpc.ClientStreamingClient[Req, Resp], *body) error,
	told func(*Resp) proto.Message,
) {
	b, ok := r.Body.(*body)
	if !ok {
		writeError(w, r, apierr.New(apierr.Internal, "the body is not bounded"))
		return
	}
	ctx, cancel := h.streamContext(r)
	defer cancel(nil)
	call, err := open(ctx)
	if err != nil {
		writeError(w, r, err)
		return
	}
	b.streamed()
	if err = send(call, b); err != nil {
		cancel(err) // the service waits for more, and would be waited for below
	}
	var resp *Resp
	if err == nil {
		resp, err = call.CloseAndRecv()
	}
	header, _ := call.Header() // without one the answer lacks it, which is all
	h.answer(w, r, header, told(resp), err)
	_ = w.FlushError() // a client that is gone needs no answer
	read := make(chan struct{})
	close(read)
	b.leave(read)
}
