package allinone

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/poterne/poterne/pkg/apierr"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
)

// errorRate is what the simulated engine fails.
const errorRate = "error-rate"

const hello = `{"messages":[{"role":"user","content":"hello"}],"max_tokens":2}`

// newRolloutCluster serves a model whose version 1 fails at one rate and version 2
// at another; both are loaded.
func newRolloutCluster(t *testing.T, baseline, candidate string) *cluster {
	t.Helper()
	c := newCluster(t, 1, simulated(false, map[string]string{errorRate: baseline, "slots": "16"}), nil, func(c tuned) {
		c.registry.Rollouts.Period = 100 * time.Millisecond
		c.inference.Outcomes.Interval = 100 * time.Millisecond
	})
	second := simulated(false, map[string]string{errorRate: candidate, "slots": "16", "seed": "2"})
	_, err := c.models.CreateVersion(t.Context(), &registryv1.CreateVersionRequest{Model: second.name, Spec: second.spec})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.models.SetAlias(t.Context(), &registryv1.SetAliasRequest{Model: second.name, Alias: "next", Version: 2})
	if err != nil {
		t.Fatal(err)
	}
	c.awaitReady(t, second.name+"@next", 1)
	return c
}

// rollOut begins a rollout of version 2. Alpha is how often one that is no worse
// may be rolled back.
func (c *cluster) rollOut(alpha float64, steps ...*registryv1.RolloutStep) {
	c.t.Helper()
	c.rollOutAfter(nil, alpha, steps...)
}

func (c *cluster) rollOutAfter(shadow *registryv1.RolloutShadow, alpha float64, steps ...*registryv1.RolloutStep) {
	c.t.Helper()
	_, err := c.models.CreateRollout(c.t.Context(), &registryv1.CreateRolloutRequest{
		Model: SimChatModel, Rollout: "next", Candidate: 2, Steps: steps, Shadow: shadow,
		Guardrails: []*registryv1.RolloutGuardrail{{Metric: "error_rate", MaxRelative: 0.05, Alpha: alpha}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) rollout() *registryv1.Rollout {
	c.t.Helper()
	got, err := c.models.GetRollout(c.t.Context(), &registryv1.GetRolloutRequest{Model: SimChatModel, Rollout: "next"})
	if err != nil {
		c.t.Fatal(err)
	}
	return got.GetRollout()
}

// traffic asks the plain name for different users, perSecond times a second or as
// fast as the machine does, until the rollout is over or there were most requests.
// It returns how many there were of each version, failed ones included.
func (c *cluster) traffic(perSecond int, most int64) (requests map[int32]int64) {
	c.t.Helper()
	var sent atomic.Int64
	var mu sync.Mutex
	requests = make(map[int32]int64)
	pace := time.NewTicker(time.Second / time.Duration(perSecond))
	defer pace.Stop()
	ctx, stop := context.WithCancel(c.caller())
	defer stop()
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			for n := sent.Add(1); n <= most; n = sent.Add(1) {
				select {
				case <-pace.C:
				case <-ctx.Done():
					return
				}
				resp, err := c.client.Invoke(ctx, &inferencev1.InvokeRequest{
					Model: SimChatModel, Operation: workerv1.Operation_OPERATION_CHAT, RoutingKey: fmt.Sprint("user", n),
					Body: []byte(hello),
				})
				if err != nil && ctx.Err() == nil && apierr.ReasonOf(err) != apierr.EngineFailed {
					c.t.Errorf("request %d: %v", n, err)
				}
				mu.Lock()
				requests[resp.GetServedBy().GetVersion()]++
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { callers.Wait(); close(ended) }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for c.rollout().GetEndTime() == nil {
		select {
		case <-look.C:
			continue
		case <-ended:
		}
		break
	}
	stop()
	callers.Wait()
	return requests
}

// A candidate that fails ten times as often is found out by what its requests come
// to, and rolled back by the registry itself.
func TestSimABrokenCandidateIsRolledBack(t *testing.T) {
	c := newRolloutCluster(t, "0.02", "0.2")
	c.rollOut(0.05, &registryv1.RolloutStep{Weight: 100_000, MinDuration: durationpb.New(time.Hour)},
		&registryv1.RolloutStep{Weight: 1_000_000, MinDuration: durationpb.New(time.Hour)})
	// Ten times what finds it at the median, so that chance alone never fails this.
	requests := c.traffic(1000, 8000)
	r := c.rollout()
	if r.GetState() != registryv1.RolloutState_ROLLOUT_STATE_ROLLED_BACK {
		t.Fatalf("the rollout is %v after %v requests: %v", r.GetState(), requests, r.GetLastEvent())
	}
	e := r.GetLastEvent()
	if !strings.Contains(e.GetWords(), "error_rate is ") || !strings.Contains(e.GetWords(), "surely more than") || e.GetCandidateRequests() == 0 {
		t.Errorf("it says %v", e)
	}
	b := e.GetBreaches()
	if len(b) != 1 || b[0].GetBaseline() > 0.1 || b[0].GetCandidate() < 0.1 || b[0].GetBound() <= 0.05 {
		t.Errorf("what was broken is %v", b)
	}
	alias, err := c.models.GetAlias(t.Context(), &registryv1.GetAliasRequest{Model: SimChatModel, Alias: "production"})
	if err != nil || alias.GetAlias().GetVersion() != 1 {
		t.Errorf("production is %v: %v", alias, err)
	}
	if _, err := c.models.GetSplit(t.Context(), &registryv1.GetSplitRequest{Model: SimChatModel}); apierr.ReasonOf(err) != apierr.NotFound {
		t.Errorf("the split is not removed: %v", err)
	}
	t.Logf("after %v, %d of the candidate's requests: %s", r.GetEndTime().AsTime().Sub(r.GetStartTime().AsTime()), e.GetCandidateRequests(), e.GetWords())
}

// A candidate that is as good goes all the way, and serves.
func TestSimAGoodCandidateTakesOver(t *testing.T) {
	c := newRolloutCluster(t, "0.02", "0.02")
	c.rollOut(1e-9, &registryv1.RolloutStep{Weight: 100_000, MinRequests: 30}, &registryv1.RolloutStep{Weight: 500_000, MinRequests: 100},
		&registryv1.RolloutStep{Weight: 1_000_000, MinRequests: 100})
	requests := c.traffic(1000, 8000)
	r := c.rollout()
	if r.GetState() != registryv1.RolloutState_ROLLOUT_STATE_SUCCEEDED {
		t.Fatalf("the rollout is %v at step %d after %v requests: %v", r.GetState(), r.GetStep(), requests, r.GetLastEvent())
	}
	events, err := c.models.ListRolloutEvents(t.Context(), &registryv1.ListRolloutEventsRequest{Model: SimChatModel, Rollout: "next"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(events.GetEvents()); n != 5 { // created, started, advanced twice, succeeded
		t.Errorf("the events are %v", events.GetEvents())
	}
	alias, err := c.models.GetAlias(t.Context(), &registryv1.GetAliasRequest{Model: SimChatModel, Alias: "production"})
	if err != nil || alias.GetAlias().GetVersion() != 2 {
		t.Errorf("production is %v: %v", alias, err)
	}
	eventually(t, "version 2 answers", func() bool {
		resp, err := c.client.Invoke(c.caller(), &inferencev1.InvokeRequest{
			Model: SimChatModel, Operation: workerv1.Operation_OPERATION_CHAT, Body: []byte(hello),
		})
		return err == nil && resp.GetServedBy().GetVersion() == 2
	})
}

// What copies come to decides whether a candidate gets any traffic at all.
func TestSimAShadowComesFirst(t *testing.T) {
	shadow := &registryv1.RolloutShadow{Weight: 500_000, MinRequests: 300}
	all := &registryv1.RolloutStep{Weight: 1_000_000, MinRequests: 20}
	t.Run("broken", func(t *testing.T) {
		c := newRolloutCluster(t, "0.02", "0.5")
		c.rollOutAfter(shadow, 0.05, all)
		requests := c.traffic(1000, 8000)
		r := c.rollout()
		e := r.GetLastEvent()
		if r.GetState() != registryv1.RolloutState_ROLLOUT_STATE_ROLLED_BACK || r.GetStep() != 0 ||
			!strings.Contains(e.GetWords(), "error_rate is ") || !strings.Contains(e.GetWords(), "no traffic had been moved") {
			t.Fatalf("the rollout is %v at step %d: %v", r.GetState(), r.GetStep(), e)
		}
		if requests[2] != 0 {
			t.Errorf("%d requests were answered by the candidate", requests[2])
		}
		t.Logf("after %d copies: %s", e.GetCandidateRequests(), e.GetWords())
	})
	t.Run("good", func(t *testing.T) {
		c := newRolloutCluster(t, "0.02", "0.02")
		c.rollOutAfter(shadow, 1e-9, all)
		c.traffic(1000, 8000)
		if r := c.rollout(); r.GetState() != registryv1.RolloutState_ROLLOUT_STATE_SUCCEEDED {
			t.Fatalf("the rollout is %v at step %d: %v", r.GetState(), r.GetStep(), r.GetLastEvent())
		}
	})
}
