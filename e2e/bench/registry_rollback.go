package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// A rollout at a tenth of 100 requests a second whose candidate fails ten times as
// often as the baseline.
const (
	rollbackRate      = 100
	rollbackShare     = 0.1
	rollbackBaseline  = 0.02
	rollbackCandidate = 0.2
	rollbackDrawn     = 60
	rollbackBar       = 10 * time.Second
	rollbackMost      = 40 * time.Second
)

// RegistryRollback measures how long a broken candidate has its share of the
// traffic: of many rollouts side by side whose outcomes are drawn and reported every
// second as an inference replica does, and of one whose traffic goes through
// inference to simulated engines.
func RegistryRollback(ctx context.Context) (_ []Row, err error) {
	n, err := openRegistry(ctx, "")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.close()) }()
	took, err := n.rollbacksDrawn(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	within, _ := slices.BinarySearch(took, rollbackBar+1)
	p95 := took[len(took)*95/100]
	served, words, err := n.rollbackServed(ctx)
	if err != nil {
		return nil, err
	}
	return []Row{
		{
			What:     fmt.Sprintf("broken candidate (2 %% to 20 %%) at 10 %% of %d requests/s rolled back, p95 of %d", rollbackRate, rollbackDrawn),
			Measured: fmt.Sprintf("%.1f s (p50 %.1f s, within 10 s %d of %d)", p95.Seconds(), took[len(took)/2].Seconds(), within, len(took)),
			Bar:      "≤ 10 s", Holds: p95 <= rollbackBar,
		},
		told("the same once through inference and simulated engines", fmt.Sprintf("%.1f s: %s", served.Seconds(), words)),
	}, nil
}

// begin makes a rollout of version 2 of a model that is there.
func (n *registryNode) begin(ctx context.Context, name string) error {
	_, err := n.SetAlias(ctx, &registryv1.SetAliasRequest{Model: name, Alias: "production", Version: 1, Etag: "*"})
	if err != nil {
		return err
	}
	hour := durationpb.New(time.Hour)
	_, err = n.CreateRollout(ctx, &registryv1.CreateRolloutRequest{
		Model: name, Rollout: "r", Candidate: 2,
		Steps: []*registryv1.RolloutStep{
			{Weight: rollbackShare * 1e6, MinDuration: hour}, {Weight: 1_000_000, MinDuration: hour},
		},
		Guardrails: []*registryv1.RolloutGuardrail{{Metric: "error_rate", MaxRelative: 0.05}},
	})
	return err
}

// ended returns how long the candidate had its share, and false while it has.
func (n *registryNode) ended(ctx context.Context, name string) (time.Duration, string, bool, error) {
	got, err := n.GetRollout(ctx, &registryv1.GetRolloutRequest{Model: name, Rollout: "r"})
	r := got.GetRollout()
	if err != nil || r.GetEndTime() == nil {
		return 0, "", false, err
	}
	if r.GetState() != registryv1.RolloutState_ROLLOUT_STATE_ROLLED_BACK {
		return 0, "", false, fmt.Errorf("the rollout of %s is %v: %s", name, r.GetState(), r.GetLastEvent().GetWords())
	}
	return r.GetEndTime().AsTime().Sub(r.GetStartTime().AsTime()), r.GetLastEvent().GetWords(), true, nil
}

func (n *registryNode) rollbacksDrawn(ctx context.Context) ([]time.Duration, error) {
	took := make([]time.Duration, rollbackDrawn)
	g, ctx := errgroup.WithContext(ctx)
	for i := range took {
		name := fmt.Sprintf("drawn%02d", i)
		if err := n.publish(ctx, name, 2); err != nil {
			return nil, err
		}
		g.Go(func() (err error) {
			took[i], err = n.rollbackDrawn(ctx, name, rand.New(rand.NewPCG(1, uint64(i))))
			return err
		})
	}
	return took, g.Wait()
}

// rollbackDrawn has requests come at chance, and reports what they came to every
// second.
func (n *registryNode) rollbackDrawn(ctx context.Context, name string, random *rand.Rand) (time.Duration, error) {
	select { // replicas report at their own times
	case <-time.After(time.Duration(random.Float64() * float64(time.Second))):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	select {
	case <-time.After(time.Duration(random.Float64() * float64(time.Second))):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := n.begin(ctx, name); err != nil {
		return 0, err
	}
	last := time.Now()
	next := last
	began := last
	for sequence := int64(1); time.Since(began) < rollbackMost; sequence++ {
		var now time.Time
		select {
		case now = <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		var baseline, candidate registryv1.OutcomeSums
		for next.Before(now) {
			sums, rate := &baseline, rollbackBaseline
			if random.Float64() < rollbackShare {
				sums, rate = &candidate, rollbackCandidate
			}
			sums.Requests++
			if random.Float64() < rate {
				sums.Errors++
			}
			next = next.Add(time.Duration(random.ExpFloat64() / rollbackRate * float64(time.Second)))
		}
		_, err := n.ReportOutcomes(ctx, &registryv1.ReportOutcomesRequest{Batches: []*registryv1.OutcomeBatch{{
			Replica: name, Epoch: 1, Sequence: sequence, StartTime: timestamppb.New(last), EndTime: timestamppb.New(now),
			Outcomes: []*registryv1.Outcome{
				{Model: name, Arm: "baseline-v1", Version: 1, Sums: &baseline},
				{Model: name, Arm: "candidate-v2", Version: 2, Sums: &candidate},
			},
		}}})
		if err != nil {
			return 0, err
		}
		last = now
		if took, _, over, err := n.ended(ctx, name); over || err != nil {
			return took, err
		}
	}
	return rollbackMost, nil
}

// rollbackServed has an inference service and a simulated engine answer.
func (n *registryNode) rollbackServed(ctx context.Context) (_ time.Duration, _ string, err error) {
	failing := func(rate float64) map[string]string {
		return map[string]string{"slots": "32", "error-rate": strconv.FormatFloat(rate, 'f', -1, 64)}
	}
	c, err := open(ctx, shape{workers: 1, registry: n.conns[0], parameters: failing(rollbackBaseline)})
	if err != nil {
		return 0, "", err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	_, err = n.CreateVersion(ctx, &registryv1.CreateVersionRequest{Model: model, Spec: &commonv1.ModelSpec{
		Task: commonv1.Task_TASK_CHAT, Engine: "sim", ContextLength: 8192, Parameters: failing(rollbackCandidate),
	}})
	if err != nil {
		return 0, "", err
	}
	if _, err = n.SetAlias(ctx, &registryv1.SetAliasRequest{Model: model, Alias: "next", Version: 2}); err != nil {
		return 0, "", err
	}
	if err := c.awaitModel(ctx, model+"@next", 1); err != nil {
		return 0, "", err
	}
	if err := n.begin(ctx, model); err != nil {
		return 0, "", err
	}
	traffic, stop := context.WithTimeout(ctx, rollbackMost)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	pace := time.NewTicker(time.Second / rollbackRate)
	defer pace.Stop()
	for i := 0; ; i++ {
		select {
		case <-pace.C:
		case <-traffic.Done():
			return rollbackMost, "not rolled back", ctx.Err()
		}
		running.Go(func() {
			req := outageRequest(model)
			req.RoutingKey = "user" + strconv.Itoa(i)
			// That some fail is what this is about.
			_, _ = c.client.Invoke(traffic, req)
		})
		if i%10 > 0 {
			continue
		}
		took, words, over, err := n.ended(ctx, model)
		if over || err != nil {
			return took, words, err
		}
	}
}
