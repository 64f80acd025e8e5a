package api

import (
	"context"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// quantization is one QuantizeModel on its way.
type quantization struct {
	server *Server
	req    *inferencev1.QuantizeModelRequest
	to     grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]

	version *catalog.Version
	source  *catalog.Variant // what the weights are made from
}

// QuantizeModel has a worker make a quantised form of a version's weights. Who
// does it is told with the first word of the worker and not before: until then
// another may be asked when one is busy or away, and afterwards when one finds
// that it has no room.
func (s *Server) QuantizeModel(req *inferencev1.QuantizeModelRequest, stream grpc.ServerStreamingServer[inferencev1.QuantizeModelResponse]) (err error) {
	// Unlike a request it may take hours, and is bounded whatever its caller says.
	ctx, cancel := context.WithTimeoutCause(stream.Context(), s.opts.QuantizeTimeout, s.quantizeLate())
	defer cancel()
	q := &quantization{server: s, req: req, to: stream}
	if err := q.resolve(stream.Context()); err != nil {
		return err
	}
	began := s.opts.Clock.Now()
	s.opts.Metrics.Begin(ctx, q.version.Model)
	defer func() {
		s.opts.Metrics.End(ctx, q.version.Model, "", "", operationQuantize, string(apierr.ReasonOf(err)), s.opts.Clock.Now().Sub(began))
	}()
	workers, err := q.workers(s.opts.Fleet.View().Workers)
	if err != nil {
		return err
	}
	for i, w := range workers {
		var begun bool
		if begun, err = q.run(ctx, w); err == nil {
			return nil
		}
		if ctx.Err() != nil || i+1 >= routing.MaxAttempts || !hasNoRoom(err) && (begun || !elsewhere(err)) {
			break
		}
	}
	return err
}

func (s *Server) quantizeLate() error {
	return apierr.New(apierr.DeadlineExceeded, "the quantisation took longer than its deadline, which is at most %v", s.opts.QuantizeTimeout)
}

// elsewhere reports whether another worker may take what one refused: it has no
// room now, or cannot be reached.
func elsewhere(err error) bool {
	r := apierr.ReasonOf(err)
	return r == apierr.Overloaded || r == apierr.Unavailable
}

// hasNoRoom reports whether a worker found that the work does not fit, which it
// may only know once it has the files: its error has figures.
func hasNoRoom(err error) bool {
	e := apierr.From(err)
	return e != nil && e.Reason == apierr.FailedPrecondition && e.Metadata["needed_bytes"] != ""
}

// resolve finds the version and what of it the weights are made from.
func (q *quantization) resolve(ctx context.Context) error {
	if n := q.req.GetWindow(); n > 0 && n < minWindow {
		return apierr.Invalid("window", "window: must be from %d to 32768 tokens, or 0 for 512", minWindow)
	}
	if !utf8.Valid(q.req.GetText()) {
		return apierr.Invalid("text", "text: must be UTF-8")
	}
	snapshot := q.server.opts.Catalog.Snapshot()
	if snapshot == nil {
		return errNotKnown()
	}
	if err := q.server.checkSeen(ctx, snapshot, q.req.GetModel()); err != nil {
		return err
	}
	// A name that may lead to several versions does not say which one is meant.
	if m, ok := snapshot.Model(q.req.GetModel()); ok {
		if several := m.Reachable(); len(several) > 1 {
			return apierr.New(apierr.FailedPrecondition, "%q follows a split over %d versions: say which one, such as %s",
				m.Name(), len(several), several[0].Name).WithField("model").WithMetadata("model", m.Name())
		}
	}
	target, err := snapshot.Resolve(q.req.GetModel(), "")
	if err != nil {
		return err
	}
	q.version = target.Version
	if q.source = target.Variant; q.source != nil && q.req.GetSource() == "" {
		return nil
	}
	q.source, err = sourceOf(target.Version, q.req.GetSource())
	return err
}

// minWindow is the fewest tokens of a window: with fewer the half that is
// context only would say little.
const minWindow = 64

// run has one worker do it. begun reports whether the caller was told anything.
func (q *quantization) run(ctx context.Context, w *fleet.Worker) (begun bool, err error) {
	// Ends the work on every way out.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.Hold() // a worker that discovery forgets keeps its connection until then
	defer w.Drop()
	from, err := w.Client().Quantize(ctx, &workerv1.QuantizeRequest{
		Digest: q.source.Digest, Name: q.source.Label, Spec: q.source.Spec, Type: q.req.GetType(), Text: q.req.GetText(),
		Window: q.req.GetWindow(), AllowRequantize: q.req.GetAllowRequantize(), Threads: q.req.GetThreads(),
	})
	for err == nil {
		var msg *workerv1.QuantizeResponse
		if msg, err = from.Recv(); err != nil {
			break
		}
		if !begun {
			begun = true
			if err := q.start(w); err != nil {
				return begun, err
			}
		}
		switch ev := msg.GetEvent().(type) {
		case *workerv1.QuantizeResponse_Progress:
			if err := q.to.Send(&inferencev1.QuantizeModelResponse{
				Event: &inferencev1.QuantizeModelResponse_Progress{Progress: ev.Progress},
			}); err != nil {
				return begun, err
			}
		case *workerv1.QuantizeResponse_Result:
			// How the worker closes its stream afterwards changes nothing.
			return begun, q.to.Send(&inferencev1.QuantizeModelResponse{
				Event: &inferencev1.QuantizeModelResponse_Result{Result: ev.Result},
			})
		}
	}
	return begun, q.failed(ctx, w, begun, err)
}

// start says who does it.
func (q *quantization) start(w *fleet.Worker) error {
	return q.to.Send(&inferencev1.QuantizeModelResponse{Event: &inferencev1.QuantizeModelResponse_Started{
		Started: &inferencev1.QuantizeStarted{
			Model: q.version.Model, Version: q.version.Number, SourceDigest: q.source.Digest, Source: q.source.Name,
			WorkerId: w.ID(),
		},
	}})
}

// ending reports whether the last second of ctx has begun. A call to a worker ends
// a little before its caller's does, and the worker may be the first to say so.
func ending(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && time.Until(end) <= time.Second //nolint:forbidigo // a context's deadline is on the machine's clock
}

// failed reads the error of a worker: its own as it is, and as UNAVAILABLE that
// it was lost.
func (q *quantization) failed(ctx context.Context, w *fleet.Worker, begun bool, err error) error {
	switch {
	case ctx.Err() != nil:
		return apierr.From(errors.Join(context.Cause(ctx), ctx.Err()))
	case errors.Is(err, io.EOF):
		return apierr.New(apierr.EngineFailed, "worker %s ended the quantisation without a result", w.ID())
	case apierr.ReasonOf(err) == apierr.DeadlineExceeded && (!apierr.Answered(err) || ending(ctx)):
		return q.server.quantizeLate()
	case apierr.Answered(err) && apierr.ReasonOf(err) != apierr.Cancelled:
		return apierr.From(err)
	}
	// gRPC's own error, or a worker that is being stopped.
	w.Failed(q.server.opts.Clock.Now())
	if begun {
		return apierr.Wrap(apierr.Unavailable, err, "worker %s was lost in the middle of the quantisation, and nothing was kept: "+
			"ask again", w.ID()).WithRetryAfter(lostRetry)
	}
	return apierr.Wrap(apierr.Unavailable, err, "worker %s could not be reached; try again", w.ID()).WithRetryAfter(lostRetry)
}

// lostRetry is about how long a worker that is started again takes to be seen.
const lostRetry = 5 * time.Second
