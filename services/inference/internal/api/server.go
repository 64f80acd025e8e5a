// Package api is the inference service's gRPC face: it resolves the model, has
// the router find a worker, and passes answers on as they come, without reading
// what is in them: what another worker needs to go on with an answer is told
// beside it. Start reading at Server.
package api

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/requestid"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/metrics"
	"github.com/poterne/poterne/services/inference/internal/placement"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/schedule"
	"github.com/poterne/poterne/services/inference/internal/shadow"
	"github.com/poterne/poterne/services/inference/internal/split"
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
	Do(ctx context.Context, q *routing.Query, try routing.Try) error
}

// Placement is what is known of where versions shall be.
type Placement interface {
	// Status returns how a version is placed; false when it does not serve.
	Status(v *catalog.Version) (placement.Status, bool)
	// Problem returns why a version or a variant is not where it should be, or "".
	Problem(digest string) string
}

// Options is what a Server needs.
type Options struct {
	Catalog Catalog
	Fleet   Fleet
	Router  Router
	Metrics *metrics.Metrics
	// Variants may be nil: each version is then served by its own weights.
	Variants Variants
	// Shadows may be nil: nothing is then copied.
	Shadows *shadow.Runner
	// Outcomes may be nil: nothing is then counted for experiments.
	Outcomes Outcomes
	// Placement may be nil: nothing is then said of it.
	Placement Placement
	Clock     clock.Clock
	// PlatformTenant is the tenant whose callers see the models of all tenants.
	PlatformTenant string
	// Replica is this process's name to the workers.
	Replica string
	// Timeout is the deadline of a request that has none.
	Timeout time.Duration
	// QuantizeTimeout bounds a quantisation, whatever deadline it has.
	QuantizeTimeout time.Duration
}

// Server implements poterne.inference.v1.InferenceService. It is safe for
// concurrent use.
type Server struct {
	inferencev1.UnimplementedInferenceServiceServer

	opts   Options
	chosen atomic.Pointer[choices]
	seed   maphash.Seed
	late   error // the end of a request that had no deadline of its own
}

// New returns a server.
func New(opts Options) *Server {
	return &Server{
		opts: opts, seed: maphash.MakeSeed(), late: apierr.New(apierr.DeadlineExceeded, "the request took longer than %v", opts.Timeout),
	}
}

// The operations as metrics name them, besides those of the contract.
const (
	operationEmbed  = "embed"
	operationRerank = "rerank"
	operationCount  = "count_tokens"

	operationTensors     = "infer"
	operationTensorModel = "tensor-model"

	operationQuantize = "quantize"
)

// ask is what every request for a model says.
type ask interface {
	GetModel() string
	GetRoutingKey() string
	GetPriority() inferencev1.Priority
	GetSessionId() string
	GetWaitForReady() *durationpb.Duration
	GetExperimentHeaders() map[string]string
}

// unhurried is a request that says nothing of its urgency.
type unhurried struct {
	named interface {
		GetModel() string
		GetRoutingKey() string
		GetExperimentHeaders() map[string]string
	}
	session string
}

func (u unhurried) GetModel() string                    { return u.named.GetModel() }
func (u unhurried) GetRoutingKey() string               { return u.named.GetRoutingKey() }
func (unhurried) GetPriority() inferencev1.Priority     { return inferencev1.Priority_PRIORITY_UNSPECIFIED }
func (u unhurried) GetSessionId() string                { return u.session }
func (unhurried) GetWaitForReady() *durationpb.Duration { return nil }
func (u unhurried) GetExperimentHeaders() map[string]string {
	return u.named.GetExperimentHeaders()
}

// subject is what experiments and splits look at.
func subject(ctx context.Context, req ask) split.Subject {
	c, _ := identity.FromContext(ctx)
	return split.Subject{
		User: req.GetRoutingKey(), Session: req.GetSessionId(), Request: requestid.FromContext(ctx),
		Tenant: c.Tenant, Caller: c.Subject, Roles: c.Roles, Headers: req.GetExperimentHeaders(),
	}
}

func classOf(p inferencev1.Priority) fair.Class {
	switch p {
	case inferencev1.Priority_PRIORITY_INTERACTIVE:
		return fair.Interactive
	case inferencev1.Priority_PRIORITY_BATCH:
		return fair.Batch
	case inferencev1.Priority_PRIORITY_UNSPECIFIED, inferencev1.Priority_PRIORITY_STANDARD:
	}
	return fair.Standard
}

// job is one request on its way.
type job struct {
	// target is what was decided: experiment, arm and version, and who gets a copy.
	target    catalog.Target
	query     routing.Query
	allowed   []*catalog.Variant // that may serve, best first; empty: there is one
	operation string
	began     time.Time
	usage     *commonv1.TokenUsage // as far as the engine counted
	first     time.Time            // when the answer began, of streams
	refused   bool                 // the model declined
	model     *catalog.Model
	snapshot  *catalog.Snapshot      // that decided
	prompt    *catalog.PromptVersion // that the conversation begins with, or nil
	away      time.Duration          // it waited, or was in a worker's hands
}

// begin resolves the model of a request. The error is one of the taxonomy.
func (s *Server) begin(ctx context.Context, req ask, operation string) (job, error) {
	began := s.opts.Clock.Now()
	snapshot := s.opts.Catalog.Snapshot()
	if snapshot == nil {
		return job{}, errNotKnown()
	}
	who := subject(ctx, req)
	key := who.User
	if key == "" {
		key = who.Request
	}
	if err := s.checkSeen(ctx, snapshot, req.GetModel()); err != nil {
		return job{}, err
	}
	target, err := snapshot.Decide(req.GetModel(), &who)
	if err != nil {
		return job{}, err
	}
	if err := admit(ctx, &target); err != nil {
		return job{}, err
	}
	v := target.Version
	m, _ := snapshot.Model(v.Model)
	j := job{
		target: target, operation: operation, began: began, model: m, snapshot: snapshot,
		query: routing.Query{
			Request: schedule.Request{
				Digest: v.Digest, Name: v.Name, Key: key, Tenant: who.Tenant, Class: classOf(req.GetPriority()),
				Session: req.GetSessionId(),
			},
			Referenced: snapshot.Serves(v.Digest), WaitForReady: -1,
		},
	}
	s.choose(snapshot, &j)
	if r, ok := req.(interface{ GetMaxAttempts() int32 }); ok {
		j.query.MaxAttempts = int(r.GetMaxAttempts())
	}
	if w := req.GetWaitForReady(); w != nil {
		j.query.WaitForReady = w.AsDuration()
	}
	if r, ok := req.(interface{ GetNoRestartWait() bool }); ok {
		j.query.NoRestartWait = r.GetNoRestartWait()
	}
	s.opts.Metrics.Begin(ctx, v.Model)
	return j, nil
}

// route has the router run the job, and notes the time that it is not in this
// service's hands.
func (s *Server) route(ctx context.Context, j *job, try routing.Try) error {
	return s.opts.Router.Do(ctx, &j.query, func(ctx context.Context, run *routing.Run) (bool, error) {
		since := s.opts.Clock.Now()
		begun, err := try(ctx, run)
		j.away += run.Idle() + s.opts.Clock.Now().Sub(since)
		return begun, err
	})
}

// errNotKnown is the error while the registry was never reached.
func errNotKnown() error {
	return apierr.New(apierr.Unavailable, "the registry has not been reached yet; try again").WithRetryAfter(time.Second)
}

// end notes the outcome of a request.
func (s *Server) end(ctx context.Context, j job, err error) {
	now := s.opts.Clock.Now()
	if err == nil {
		s.opts.Metrics.Overhead(ctx, now.Sub(j.began)-j.away)
	}
	if u := j.usage; u != nil {
		s.opts.Metrics.Tokens(ctx, j.target.Version.Model,
			int64(u.GetPromptTokens()), int64(u.GetCachedPromptTokens()), int64(u.GetCompletionTokens()))
		if more := u.GetCompletionTokens() - 1; more > 0 && !j.first.IsZero() {
			s.opts.Metrics.PerToken(ctx, j.target.Version.Model, j.operation, now.Sub(j.first)/time.Duration(more))
		}
	}
	s.opts.Metrics.End(ctx, j.target.Version.Model, j.target.Experiment, j.target.Arm, j.operation,
		string(apierr.ReasonOf(err)), now.Sub(j.began))
	s.count(j, err, now)
}

// servedBy says who answers.
func (j job) servedBy(run *routing.Run) *inferencev1.ServedBy {
	v := j.target.Version
	by := &inferencev1.ServedBy{
		Model: v.Model, Version: v.Number, Digest: v.Digest, Experiment: j.target.Experiment, Arm: j.target.Arm,
		WorkerId: run.Copy().Worker().ID(), Attempts: int32(run.Attempt()),
	}
	j.variant(by, run)
	if p := j.prompt; p != nil {
		by.Prompt, by.PromptVersion, by.PromptDigest = p.Prompt, p.Number, p.Digest
	}
	if w := run.Waited(); w > 0 {
		by.QueueTime = durationpb.New(w)
	}
	if w := run.WaitedForReady(); w > 0 {
		by.WaitTime = durationpb.New(w)
	}
	return by
}

// bounded gives a request that has no deadline one.
func (s *Server) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok || s.opts.Timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, s.opts.Timeout, s.late)
}
