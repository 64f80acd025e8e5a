package inference

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/discovery"
	"github.com/poterne/poterne/pkg/discovery/resolver"
	"github.com/poterne/poterne/pkg/grpcclient"
	"github.com/poterne/poterne/pkg/grpcserver"
	"github.com/poterne/poterne/pkg/signing"
	"github.com/poterne/poterne/pkg/tlsfiles"
	inferencev1 "github.com/poterne/poterne/proto/gen/poterne/inference/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/inference/internal/backoff"
	"github.com/poterne/poterne/services/inference/internal/catalog"
	"github.com/poterne/poterne/services/inference/internal/fair"
	"github.com/poterne/poterne/services/inference/internal/fleet"
	"github.com/poterne/poterne/services/inference/internal/metrics"
	"github.com/poterne/poterne/services/inference/internal/placement"
	"github.com/poterne/poterne/services/inference/internal/prefix"
	"github.com/poterne/poterne/services/inference/internal/routing"
	"github.com/poterne/poterne/services/inference/internal/schedule"
)

// placementTimeout bounds one question to a worker: it answers when it has
// admitted a model, not when the model is ready.
const placementTimeout = 15 * time.Second

func insertIdentity(chain grpcserver.Chain, step grpcserver.Interceptor) grpcserver.Chain {
	at := slices.IndexFunc(chain, func(i grpcserver.Interceptor) bool { return i.Name == grpcserver.NameValidate })
	return slices.Insert(chain, max(0, at), step)
}

// identityRequired asks for a caller on the service's own methods; health and
// reflection have none.
func (s *Service) identityRequired(fullMethod string) bool {
	return s.cfg.Identity.Required &&
		strings.HasPrefix(fullMethod, "/"+inferencev1.InferenceService_ServiceDesc.ServiceName+"/")
}

func (s *Service) backoff(base, limit time.Duration) backoff.Policy {
	return backoff.Policy{Base: base, Max: limit, Jitter: s.opts.jitter}
}

func (s *Service) newFollower() (*catalog.Follower, error) {
	conn := s.opts.registry
	if conn == nil {
		client := grpcclient.DefaultConfig()
		client.TLS = s.cfg.Registry.TLS
		dialled, err := grpcclient.Dial(resolver.Target(RegistryName), client, s.opts.telemetry, s.identity.Own(RegistryName),
			grpcclient.WithResolvers(resolver.New(s.discovery, s.opts.telemetry.Logger)))
		if err != nil {
			return nil, fmt.Errorf("dial the registry: %w", err)
		}
		s.closers = append(s.closers, dialled.Close)
		conn = dialled
	}
	s.registry = conn
	cfg := s.cfg.Registry
	opts := catalog.FollowerOptions{
		Registry: registryv1.NewRegistryServiceClient(conn), Clock: s.opts.clock, Logger: s.opts.telemetry.Logger,
		Backoff: s.backoff(cfg.BackoffBase, cfg.BackoffMax), SilenceTimeout: cfg.SilenceTimeout,
	}
	trust, err := signing.NewPolicy(s.cfg.Signatures)
	if err != nil {
		return nil, fmt.Errorf("signatures: %w", err)
	}
	opts.Trust = trust
	if cfg.SnapshotFile != "" {
		opts.File = catalog.NewFile(cfg.SnapshotFile)
	}
	return catalog.NewFollower(opts), nil
}

func (s *Service) newFleet() (*fleet.Fleet, error) {
	if s.cfg.Workers.TLS.On() { // the files are read once for all workers
		creds, err := s.cfg.Workers.TLS.Client(tlsfiles.Options{Name: WorkerName, Clock: s.opts.clock, Telemetry: s.opts.telemetry})
		if err != nil {
			return nil, fmt.Errorf("workers.tls: %w", err)
		}
		s.workers = append(s.workers, grpcclient.WithCredentials(creds))
	}
	source, dial := s.opts.workers, s.opts.dial
	if source == nil {
		source = s.discovery
	}
	if dial == nil {
		dial = s.dialWorker
	}
	cfg := s.cfg.Workers
	return fleet.New(fleet.Options{
		Source: source, Service: WorkerName, Replica: s.replica, Dial: fleet.Dialer(dial), Clock: s.opts.clock,
		Logger: s.opts.telemetry.Logger, Backoff: s.backoff(cfg.BackoffBase, cfg.BackoffMax),
		SilenceTimeout: cfg.StaleAfter, MaxWorkers: cfg.Max,
	}), nil
}

// dialWorker opens a connection on which nothing is tried again and nothing is
// refused: which worker gets a request is the router's decision.
func (s *Service) dialWorker(in discovery.Instance) (grpc.ClientConnInterface, func() error, error) {
	cfg := grpcclient.DefaultConfig()
	cfg.Timeout = s.cfg.Routing.Timeout
	cfg.Retry.MaxAttempts = 1
	cfg.Breaker.Enabled, cfg.Outlier.Enabled = false, false
	cfg.MaxRecvBytes, cfg.MaxSendBytes = s.cfg.Workers.MaxRecvBytes, s.cfg.GRPC.MaxRecvBytes
	cfg.MaxConnectBackoff = s.cfg.Workers.BackoffMax
	conn, err := grpcclient.Dial(in.Addr, cfg, s.opts.telemetry, append(slices.Clip(s.workers), grpcclient.WithDirect(
		workerv1.WorkerService_Invoke_FullMethodName, workerv1.WorkerService_Embed_FullMethodName,
		workerv1.WorkerService_Rerank_FullMethodName, workerv1.WorkerService_Tokenize_FullMethodName,
		workerv1.WorkerService_InvokeStream_FullMethodName, workerv1.WorkerService_InferTensorsStream_FullMethodName,
	))...)
	if err != nil {
		return nil, nil, err
	}
	return conn, conn.Close, nil
}

func (s *Service) newPlacement() *placement.Controller {
	cfg := s.cfg.Placement
	return placement.New(placement.Options{
		Catalog: s.follower, Views: s.fleet, Planner: placement.Spread{}, Policies: cfg.policies(),
		TargetUtilization: cfg.TargetUtilization, Stagger: cfg.Stagger, JoinDelay: cfg.JoinDelay, Jitter: s.opts.jitter,
		Clock: s.opts.clock, Logger: s.opts.telemetry.Logger, Interval: cfg.Interval, CallTimeout: placementTimeout,
		Backoff: s.backoff(cfg.BackoffBase, cfg.BackoffMax), AbsentGrace: cfg.AbsentGrace, FailedGrace: cfg.FailedGrace,
		UnloadAfter: cfg.UnloadAfter, MinLoaded: cfg.MinLoaded,
		Asked: func(ctx context.Context, what string, reason apierr.Reason) {
			s.metrics.Placement(ctx, what, string(reason))
		},
	})
}

func (s *Service) newScheduler() *schedule.Scheduler {
	q := s.cfg.Queue
	return schedule.New(schedule.Options{
		Views: s.fleet, Clock: s.opts.clock, Strategy: s.newStrategy(), Overcommit: q.Overcommit,
		MaxWait:   [3]time.Duration{q.MaxWait.Interactive, q.MaxWait.Standard, q.MaxWait.Batch},
		MaxQueued: q.MaxRequests, MaxQueuedBytes: q.MaxBytes.Int(), BatchShare: q.BatchShare, BatchGrace: q.BatchGrace,
		InputWeight: q.InputWeight, OutputWeight: q.OutputWeight,
		Weight: func(tenant string) float64 {
			if w, ok := q.Weights[tenant]; ok {
				return w
			}
			return 1
		},
		Waited: func(ctx context.Context, req *schedule.Request, d time.Duration) {
			s.metrics.Waited(ctx, req.Class.String(), d)
		},
		Refused: func(ctx context.Context, req *schedule.Request, why schedule.Refusal) {
			s.metrics.Refused(ctx, req.Class.String(), string(why))
		},
	})
}

func (s *Service) newStrategy() schedule.Strategy {
	cfg, now := s.cfg.Routing, s.opts.clock.Now
	switch cfg.Policy {
	case PolicyLeastLoad:
		return &schedule.LeastLoad{Picker: &routing.Picker{Now: now, Random: s.opts.random}}
	case PolicyRoundRobin:
		return new(schedule.RoundRobin)
	default:
		return &schedule.Scored{
			Terms: schedule.Terms(cfg.Score), Index: prefix.NewIndex(cfg.PrefixBlocks), Now: now, Random: s.opts.random,
			Balance: cfg.SessionBalance,
		}
	}
}

func (s *Service) newRouter() *routing.Router {
	cfg := s.cfg.Routing
	return routing.New(routing.Options{
		Views: s.fleet, Scheduler: s.scheduler, Clock: s.opts.clock,
		MaxAttempts: cfg.MaxAttempts, WaitForReady: cfg.WaitForReady, MaxWaiters: cfg.MaxWaiters,
		Problem: s.placement.Problem, Pending: s.placement.Pending, Planned: s.placement.Planned, Poison: s.poison,
		Attempted: func(ctx context.Context, c *fleet.Copy, reason apierr.Reason) {
			s.metrics.Attempt(ctx, c.Worker().ID(), string(reason))
		},
	})
}

func (s *Service) gauges() metrics.Gauges {
	return metrics.Gauges{
		Waiting: s.router.Waiting,
		Queued:  s.queued,
		Current: s.follower.Current,
		Revision: func() int64 {
			if snapshot := s.follower.Snapshot(); snapshot != nil {
				return snapshot.Revision()
			}
			return -1
		},
		Workers: func() (connected, away int64) {
			for _, w := range s.fleet.View().Workers {
				if w.Report().Connected {
					connected++
				} else {
					away++
				}
			}
			return connected, away
		},
		Ready: s.readyCopies, Desired: s.desiredReplicas, Poison: s.poison.Held,
	}
}

// desiredReplicas is how many workers should have each model's versions.
func (s *Service) desiredReplicas() map[string]int64 {
	out := make(map[string]int64)
	snapshot := s.follower.Snapshot()
	if snapshot == nil {
		return out
	}
	for _, v := range snapshot.Serving() {
		if status, ok := s.placement.Status(v); ok {
			out[v.Model] += int64(status.Desired)
		}
	}
	return out
}

// queued is how many requests wait for their turn, by class.
func (s *Service) queued() map[string]int64 {
	out := make(map[string]int64)
	for c := fair.Interactive; c <= fair.Batch; c++ {
		out[c.String()] = s.scheduler.Queued(c)
	}
	return out
}

func (s *Service) readyCopies() map[string]int64 {
	out := make(map[string]int64)
	snapshot, view := s.follower.Snapshot(), s.fleet.View()
	if snapshot == nil {
		return out
	}
	for _, v := range snapshot.Serving() {
		workers := make(map[*fleet.Worker]bool)
		for _, one := range v.Variants {
			for _, c := range view.Ready(one.Digest) {
				workers[c.Worker()] = true
			}
		}
		out[v.Model] += int64(len(workers))
	}
	return out
}
