// Package api is the inference service's gRPC face: it resolves the model, has
// the router find a worker, and passes answers on as they come, without reading
// what is in them. Start reading at Server.
package api

import (
	"context"
	"hash/maphash"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/requestid"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/metrics"
	"github.com/poterne/poterne/services/inference/internal/placement"
	"github.com/poterne/poterne/services/inference/internal/routing"
)

// Catalog is what is known of the registry.
type Catalog interface {
	// Snapshot returns the last state known, nil before the first.
	Snapshot() *catalog.Snapshot
}

// Fleet is what is known of the workers.
type Fleet interface {
	View() *fleet.View
}

// Router runs requests on workers.
type Router interface {
	Do(ctx context.Context, q routing.Query, try routing.Try) error
}

// Placement is what is known of where versions shall be.
type Placement interface {
	// Status returns how a version is placed; false when it does not serve.
	Status(digest string) (placement.Status, bool)
}

// Options is what a Server needs.
type Options struct {
	Catalog Catalog
	Fleet   Fleet
	Router  Router
	Metrics *metrics.Metrics
	// Placement may be nil: nothing is then said of it.
	Placement Placement
	Clock     clock.Clock
	// Timeout is the deadline of a request that has none.
	Timeout time.Duration
}

// Server implements poterne.inference.v1.InferenceService. It is safe for
// concurrent use.
type Server struct {
	inferencev1.UnimplementedInferenceServiceServer

	opts Options
	seed maphash.Seed
	late error // the end of a request that had no deadline of its own
}

// New returns a server.
func New(opts Options) *Server {
	return &Server{
		opts: opts, seed: maphash.MakeSeed(), late: apierr.New(apierr.DeadlineExceeded, "the request took longer than %v", opts.Timeout),
	}
}

// The operations as metrics name them, besides those of the contract.
const operationEmbed = "embed"

// job is one request on its way.
type job struct {
	target    catalog.Target
	query     routing.Query
	operation string
	began     time.Time
}

// begin resolves the model of a request. The error is one of the taxonomy.
func (s *Server) begin(ctx context.Context, model, key, operation string) (job, error) {
	snapshot := s.opts.Catalog.Snapshot()
	if snapshot == nil {
		return job{}, errNotKnown()
	}
	if key == "" {
		key = requestid.FromContext(ctx)
	}
	target, err := snapshot.Resolve(model, key)
	if err != nil {
		return job{}, err
	}
	v := target.Version
	j := job{
		target: target, operation: operation, began: s.opts.Clock.Now(),
		query: routing.Query{Digest: v.Digest, Name: v.Name, Key: key, Referenced: snapshot.Serves(v.Digest)},
	}
	s.opts.Metrics.Begin(ctx, v.Model)
	return j, nil
}

// errNotKnown is the error while the registry was never reached.
func errNotKnown() error {
	return apierr.New(apierr.Unavailable, "the registry has not been reached yet; try again").WithRetryAfter(time.Second)
}

// end notes the outcome of a request.
func (s *Server) end(ctx context.Context, j job, err error) {
	s.opts.Metrics.End(ctx, j.target.Version.Model, j.target.Arm, j.operation,
		string(apierr.ReasonOf(err)), s.opts.Clock.Now().Sub(j.began))
}

// servedBy says who answers.
func (j job) servedBy(c *fleet.Copy, attempt int) *inferencev1.ServedBy {
	v := j.target.Version
	return &inferencev1.ServedBy{
		Model: v.Model, Version: v.Number, Digest: v.Digest, Arm: j.target.Arm,
		WorkerId: c.Worker().ID(), Attempts: int32(attempt),
	}
}

// bounded gives a request that has no deadline one.
func (s *Server) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || s.opts.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.opts.Timeout, s.late)
}
