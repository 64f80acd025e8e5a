package api

import (
	"context"
	"errors"
	"io"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/callwire"
	"github.com/poterne/poterne/pkg/inproc"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/metrics"
	"github.com/poterne/poterne/services/inference/internal/outcomes"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/shadow"
)

// InvokeStream runs one request and streams the engine's answer. `served_by`
// leaves together with the first chunk and not before: until then another
// worker may be the one who answers, and a failure is still the whole answer.
func (s *Server) InvokeStream(req *inferencev1.InvokeRequest, stream grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]) (err error) {
	ctx, cancel := s.bounded(stream.Context())
	defer cancel()
	j, err := s.begin(ctx, req, operationName(req.GetOperation()))
	if err != nil {
		return err
	}
	defer func() { s.end(ctx, j, err) }()
	if err := checkTask(j.target.Version, commonv1.Task_TASK_CHAT); err != nil {
		return err
	}
	body, err := s.fill(req, &j)
	if err != nil {
		return err
	}
	j.query.Prompt, j.query.Bytes = prefix.Read(body), len(body)
	r := relay{
		server: s, job: &j, to: stream,
		ask: &workerv1.InvokeRequest{
			Digest: j.query.Digest, Operation: req.GetOperation(), Body: body, Replica: s.opts.Replica,
			BatchChunks: req.GetBatchChunks(),
		},
	}
	j.query.Print = s.printInvoke(j.query.Tenant, r.ask)
	r.out.Event = &r.chunk
	r.copied = s.opts.Shadows.Begin(ctx, j.target, req.GetOperation(), body)
	defer func() { r.copied.End(j.usage, err) }()
	return s.route(ctx, &j, r.try)
}

// relay passes an answer on, from one worker after another. It holds one
// message, and of an answer that can be continued its text: a slow caller slows
// the engine down by gRPC's flow control.
type relay struct {
	server *Server
	job    *job
	ask    *workerv1.InvokeRequest
	to     grpc.ServerStreamingServer[inferencev1.InvokeStreamResponse]

	// Of this attempt.
	run      *routing.Run
	coming   *callwire.Arrivals   // from the worker
	announce bool                 // the caller is to be told who answers
	begun    bool                 // something was passed on
	base     *commonv1.TokenUsage // what attempts before this one had used
	finished bool                 // the worker has said that the answer is whole
	failed   error                // of what was taken of a call within the process

	answer answer
	copied *shadow.Copy // of the request; nil: there is none
	// What every chunk is sent in; SendMsg does not keep it.
	chunk inferencev1.InvokeStreamResponse_Chunk
	out   inferencev1.InvokeStreamResponse
}

// try runs an attempt. One after the answer has begun goes on with it.
func (r *relay) try(ctx context.Context, run *routing.Run) (bool, error) {
	// Ends the worker's stream on every way out of the attempt.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	restore := on(&r.ask.Digest, run)
	defer restore()
	r.run, r.announce, r.begun = run, true, false
	base := r.answer.usage
	r.base = base
	if r.answer.begun {
		r.ask.Continuation = r.answer.continuation()
	}
	ctx, r.coming = callwire.WithArrivals(ctx)
	r.finished, r.failed = false, nil
	from, err := run.Copy().Worker().Client().InvokeStream(ctx, r.ask, inproc.Taking(func(answer any) error {
		msg, ok := answer.(*workerv1.InvokeStreamResponse)
		if !ok {
			return apierr.New(apierr.Internal, "a worker's answer is a %T", answer)
		}
		r.failed = r.passEvent(ctx, msg)
		return r.failed
	}))
	if err != nil {
		return false, err
	}
	err = r.pass(ctx, from)
	if err != nil {
		r.job.usage = r.answer.usage
		run.Count(beyond(r.answer.usage, base))
	}
	if err == nil || !r.answer.begun || ctx.Err() != nil {
		return r.begun, err
	}
	if _, gone := errors.AsType[*routing.CallerGoneError](err); gone {
		return r.begun, err
	}
	switch {
	case r.answer.stopped:
		// The answer is whole; what is missing is that somebody says so.
		return true, r.passFinish(ctx, &workerv1.Finish{Usage: r.answer.usage})
	case r.answer.continuable && r.begun:
		return true, &routing.ResumeError{Err: err}
	}
	return r.begun, err
}

func (r *relay) pass(ctx context.Context, from grpc.ServerStreamingClient[workerv1.InvokeStreamResponse]) error {
	var msg workerv1.InvokeStreamResponse
	for {
		switch err := from.RecvMsg(&msg); {
		case err != nil && r.failed != nil:
			return r.failed
		case err != nil && r.finished:
			// The answer is whole: how its stream was closed changes nothing.
			return nil
		case errors.Is(err, io.EOF):
			return apierr.New(apierr.EngineFailed, "the engine's answer ended before it was whole")
		case err != nil:
			return err
		}
		if err := r.passEvent(ctx, &msg); err != nil {
			return err
		}
	}
}

// passEvent passes on what the worker says, of which nothing is kept but texts.
func (r *relay) passEvent(ctx context.Context, msg *workerv1.InvokeStreamResponse) error {
	switch ev := msg.GetEvent().(type) {
	case *workerv1.InvokeStreamResponse_Chunk:
		return r.passChunk(ctx, msg, ev.Chunk)
	case *workerv1.InvokeStreamResponse_Finish:
		r.finished = true
		return r.passFinish(ctx, ev.Finish)
	case *workerv1.InvokeStreamResponse_Accepted:
		if !r.answer.begun {
			r.answer.continuable = ev.Accepted.GetContinuable()
		}
	}
	return nil
}

// open says who answers, before the first event and where another worker goes
// on.
func (r *relay) open(ctx context.Context) error {
	if !r.announce {
		return nil
	}
	r.announce = false
	if r.answer.begun {
		r.continued(ctx)
	}
	by := r.job.servedBy(r.run)
	by.Continuations = r.answer.continuations
	callwire.More(ctx) // what it is about
	return r.send(&inferencev1.InvokeStreamResponse{
		Event: &inferencev1.InvokeStreamResponse_ServedBy{ServedBy: by}, Usage: r.answer.usage,
	})
}

// continued notes that the answer goes on with another worker.
func (r *relay) continued(ctx context.Context) {
	r.answer.continuations++
	r.server.opts.Metrics.Continued(ctx, r.job.target.Version.Model)
	trace.SpanFromContext(ctx).AddEvent(eventContinued, trace.WithAttributes(
		attribute.String(metrics.KeyWorker, r.run.Copy().Worker().ID()),
		attribute.Int(keyAttempt, r.run.Attempt()),
		attribute.Int(keyTokens, int(r.answer.usage.GetCompletionTokens())),
	))
}

// The event of a span that says where an answer went on, and its attributes.
const (
	eventContinued = "answer continued on another worker"
	keyAttempt     = "attempt"
	keyTokens      = "completion_tokens"
)

// send keeps a caller who is gone from being taken for a worker that failed.
func (r *relay) send(msg *inferencev1.InvokeStreamResponse) error {
	r.begun = true
	if err := r.to.Send(msg); err != nil {
		return &routing.CallerGoneError{Err: err}
	}
	return nil
}

func (r *relay) passChunk(ctx context.Context, msg *workerv1.InvokeStreamResponse, chunk []byte) error {
	if !r.answer.begun {
		s := r.server.opts
		r.job.first = s.Clock.Now()
		s.Metrics.FirstToken(ctx, r.job.target.Version.Model, r.job.operation, r.job.first.Sub(r.job.began))
	}
	r.run.FirstToken()
	r.job.refused = r.job.refused || outcomes.Refused(chunk)
	for _, more := range msg.GetMoreChunks() {
		r.job.refused = r.job.refused || outcomes.Refused(more)
	}
	if err := r.open(ctx); err != nil {
		return err
	}
	r.chunk.Chunk, r.out.Usage, r.out.MoreChunks = chunk, msg.GetUsage(), msg.GetMoreChunks()
	if r.coming.More() {
		callwire.More(ctx) // it is passed on at once
	}
	if err := r.send(&r.out); err != nil {
		return err
	}
	r.answer.add(msg)
	r.copied.Part(chunk)
	for _, more := range msg.GetMoreChunks() {
		r.copied.Part(more)
	}
	return nil
}

func (r *relay) passFinish(ctx context.Context, f *workerv1.Finish) error {
	r.run.Count(beyond(f.GetUsage(), r.base))
	r.job.usage = f.GetUsage()
	if err := r.open(ctx); err != nil {
		return err
	}
	callwire.More(ctx) // the status
	return r.send(&inferencev1.InvokeStreamResponse{
		Event: &inferencev1.InvokeStreamResponse_Finish{Finish: &inferencev1.Finish{Usage: f.GetUsage()}}, Usage: f.GetUsage(),
	})
}

// beyond is what an attempt used of an answer that others had begun; nil when
// it is not known to have used anything.
func beyond(total, base *commonv1.TokenUsage) *commonv1.TokenUsage {
	if total == nil || base == nil {
		return total
	}
	if total.GetCompletionTokens() <= base.GetCompletionTokens() {
		return nil
	}
	return &commonv1.TokenUsage{CompletionTokens: total.GetCompletionTokens() - base.GetCompletionTokens()}
}
