package api

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// InvokeStream runs one request and streams the engine's answer. `served_by`
// leaves together with the first chunk and not before: until then another
// worker may be the one who answers, and a failure is still the whole answer.
func (s *Server) InvokeStream(req *inferencev1.InvokeRequest, stream grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) (err error) {
	ctx, cancel := s.bounded(stream.Context())
	defer cancel()
	j, err := s.begin(ctx, req.GetModel(), req.GetRoutingKey(), operationName(req.GetOperation()))
	if err != nil {
		return err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_CHAT); err != nil {
		return err
	}
	ask := &workerv1.InvokeRequest{Digest: j.query.Digest, Operation: req.GetOperation(), Body: req.GetBody()}
	j.query.Print = s.printInvoke(ask)
	return s.opts.Router.Do(ctx, j.query, func(ctx context.Context, c *fleet.Copy, attempt int) (bool, error) {
		// Ends the worker's stream on every way out of the attempt.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		from, err := c.Worker().Client().InvokeStream(ctx, ask)
		if err != nil {
			return false, err
		}
		r := relay{
			server: s, job: &j, copy: c, attempt: attempt, to: stream,
		}
		err = r.run(ctx, from)
		return r.begun, err
	})
}

// relay passes one worker's stream on. It holds one message: a slow caller
// slows the engine down by gRPC's flow control.
type relay struct {
	server  *Server
	job     *job
	copy    *fleet.Copy
	attempt int
	to      grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]

	begun bool // something was passed on
	// What every chunk is sent in; SendMsg does not keep it.
	chunk inferencev1.InvokeStreamResponse_Chunk
	out   inferencev1.InvokeStreamResponse
}

func (r *relay) run(ctx context.Context, from grpc.ServerStreamingClient[workerv1.InvokeStreamResponse]) error {
	r.out.Event = &r.chunk
	var msg workerv1.InvokeStreamResponse
	finished := false
	for {
		err := from.RecvMsg(&msg)
		switch {
		case errors.Is(err, io.EOF) && finished:
			return nil
		case errors.Is(err, io.EOF):
			return apierr.New(apierr.EngineFailed, "the engine's answer ended before it was whole")
		case err != nil && finished:
			// The answer is whole: how its stream was closed changes nothing.
			return nil
		case err != nil:
			return err
		}
		switch ev := msg.GetEvent().(type) {
		case *workerv1.InvokeStreamResponse_Chunk:
			err = r.passChunk(ctx, ev.Chunk)
		case *workerv1.InvokeStreamResponse_Finish:
			finished = true
			err = r.passFinish(ev.Finish)
		case *workerv1.InvokeStreamResponse_Accepted:
		}
		if err != nil {
			return err
		}
	}
}

// open sends `served_by` before the first event.
func (r *relay) open() error {
	if r.begun {
		return nil
	}
	r.begun = true
	return r.send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_ServedBy{
		ServedBy: r.job.servedBy(r.copy, r.attempt),
	}})
}

// send keeps a caller who is gone from being taken for a worker that failed.
func (r *relay) send(msg *inferencev1.InvokeStreamResponse) error {
	if err := r.to.Send(msg); err != nil {
		return &routing.CallerGoneError{Err: err}
	}
	return nil
}

func (r *relay) passChunk(ctx context.Context, chunk []byte) error {
	if !r.begun {
		s := r.server.opts
		s.Metrics.FirstToken(ctx, r.job.target.Version.Model, s.Clock.Now().Sub(r.job.began))
		if err := r.open(); err != nil {
			return err
		}
	}
	r.chunk.Chunk = chunk
	return r.send(&r.out)
}

func (r *relay) passFinish(f *workerv1.Finish) error {
	if err := r.open(); err != nil {
		return err
	}
	return r.send(&inferencev1.InvokeStreamResponse{Event: &inferencev1.InvokeStreamResponse_Finish{
		Finish: &inferencev1.Finish{Usage: f.GetUsage()},
	}})
}
