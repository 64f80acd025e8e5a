package api

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/placement"
)

// workers returns those that can do it, in the order in which they are asked: the
// one that was named; else those that have the files first, then those with the
// least in hand, then by id. The error says why there is none.
func (q *quantization) workers(all []*fleet.Worker) ([]*fleet.Worker, error) {
	named := q.req.GetWorkerId()
	var able []*fleet.Worker
	known := false
	best := noQuantizer
	for _, w := range all {
		if named != "" && w.ID() != named {
			continue
		}
		o := q.obstacle(w)
		if !known || o < best { // one that moves is here twice
			known, best = true, o
		}
		if o == none {
			able = append(able, w)
		}
	}
	switch {
	case named != "" && !known:
		return nil, apierr.New(apierr.NotFound, "there is no worker %q (GET /v1/admin/workers lists them)", named).WithField("worker_id")
	case !known:
		return nil, apierr.New(apierr.Unavailable, "there is no worker").WithRetryAfter(lostRetry)
	case len(able) == 0:
		return nil, q.refusal(best, q.known(all))
	}
	q.rank(able)
	return able, nil
}

// obstacle is why a worker cannot do it, nearest to doing it first.
type obstacle int

const (
	none obstacle = iota
	draining
	disconnected
	cannotMeasure
	unknownType
	noQuantizer
)

// obstacle returns what keeps a worker from it. What a worker can do at all is
// looked at first: waiting for one that cannot would be in vain.
func (q *quantization) obstacle(w *fleet.Worker) obstacle {
	r := w.Report()
	if r.State == nil {
		return disconnected // nothing is known of it yet
	}
	quantizer := quantizerOf(r.State, q.source.Spec.GetEngine())
	switch {
	case quantizer == nil:
		return noQuantizer
	case !slices.Contains(quantizer.GetTypes(), q.req.GetType()):
		return unknownType
	case len(q.req.GetText()) > 0 && !quantizer.GetMeasures():
		return cannotMeasure
	case !r.Connected:
		return disconnected
	case r.State.GetDraining():
		return draining
	default:
		return none
	}
}

func quantizerOf(state *workerv1.WorkerState, engine string) *workerv1.Quantizer {
	for _, z := range state.GetQuantizers() {
		if z.GetEngine() == engine {
			return z
		}
	}
	return nil
}

// refusal is the error of an obstacle, of the worker that was named or of all.
func (q *quantization) refusal(o obstacle, types []string) error {
	engine, named := q.source.Spec.GetEngine(), q.req.GetWorkerId()
	all, can, has := "every worker that could do it is", "no worker can", "no worker has a"
	if named != "" {
		all, can, has = "worker "+named+" is", "worker "+named+" cannot", "worker "+named+" has no"
	}
	var err *apierr.Error
	switch o {
	case draining:
		err = apierr.New(apierr.Unavailable, "%s draining; try again", all).WithRetryAfter(lostRetry)
	case disconnected:
		err = apierr.New(apierr.Unavailable, "%s away; try again", all).WithRetryAfter(lostRetry)
	case cannotMeasure:
		err = apierr.New(apierr.FailedPrecondition, "%s measure perplexity for engine %q: leave the text out", can, engine).WithField("text")
	case unknownType:
		err = apierr.New(apierr.FailedPrecondition, "%s make %s for engine %q; known are: %s",
			can, q.req.GetType(), engine, strings.Join(types, ", ")).WithField("type")
	case noQuantizer, none:
		err = apierr.New(apierr.FailedPrecondition, "%s quantiser for engine %q", has, engine).WithField("model")
	}
	if named != "" {
		err = err.WithField("worker_id")
	}
	return err
}

// known are the types that the workers in question make for the source's engine.
func (q *quantization) known(all []*fleet.Worker) []string {
	types := make(map[string]bool)
	for _, w := range all {
		if named := q.req.GetWorkerId(); named != "" && w.ID() != named {
			continue
		}
		for _, t := range quantizerOf(w.Report().State, q.source.Spec.GetEngine()).GetTypes() {
			types[t] = true
		}
	}
	return slices.Sorted(maps.Keys(types))
}

func (q *quantization) rank(workers []*fleet.Worker) {
	files := placement.Files(q.source.Spec)
	missing := func(w *fleet.Worker) int {
		n, has := 0, w.Report().State.GetArtifacts()
		for _, f := range files {
			if !slices.Contains(has, f) {
				n++
			}
		}
		return n
	}
	// The worker's own count is a second old; this replica's share is not.
	busy := func(w *fleet.Worker) int64 { return max(w.InFlight(), int64(w.Report().State.GetInFlight())) }
	now := q.server.opts.Clock.Now
	slices.SortStableFunc(workers, func(a, b *fleet.Worker) int {
		return cmp.Or(
			cmp.Compare(truth(a.Cooling(now)), truth(b.Cooling(now))), // it could not be reached of late
			cmp.Compare(missing(a), missing(b)),
			cmp.Compare(busy(a), busy(b)),
			cmp.Compare(a.ID(), b.ID()),
		)
	})
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}
