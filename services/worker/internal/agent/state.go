package agent

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/clock"
	workerv1 "github.com/poterne/poterne/proto/gen/poterne/worker/v1"
	"github.com/poterne/poterne/services/worker/internal/gpu"
)

// The pace of the state stream.
const (
	// stateEvery is a little under the second that is promised.
	stateEvery = 900 * time.Millisecond
	// settle is how long a change waits for others that belong to it.
	settle = 20 * time.Millisecond
	// loadEvery is the shortest time between messages that only tell load:
	// replicas count their own requests themselves.
	loadEvery = 100 * time.Millisecond
)

// State returns the whole state as it is told to a replica. Each call has the
// next sequence number.
func (a *Agent) State(replica string) *workerv1.WorkerState {
	s := &workerv1.WorkerState{
		WorkerId: a.cfg.ID, AgentVersion: a.cfg.Version, Sequence: a.sequence.Add(1),
		ObserveTime: timestamppb.New(a.parts.Clock.Now()), Engines: a.kinds,
		InFlight: int32(min(a.inFlight.Load(), 1<<30)), MaxModels: int32(a.cfg.MaxModels),
	}
	now := a.parts.Clock.Now()
	evictable := make(map[string]int64)
	for _, m := range a.list() {
		s.Models = append(s.Models, m.snapshot(replica))
		if a.evictable(m, now) {
			for id, n := range m.share() {
				evictable[id] += n
			}
		}
	}
	s.Models = append(s.Models, a.quarantine.list(now)...)
	for _, p := range a.parts.Pools.List() {
		s.Memory = append(s.Memory, &workerv1.MemoryPool{
			Id: p.ID, TotalBytes: p.Total, UsedBytes: p.Used, FreeBytes: p.Free(),
			MeasuredFreeBytes: p.Measured, EvictableBytes: evictable[p.ID],
		})
	}
	for _, d := range a.devices() {
		s.Gpus = append(s.Gpus, a.gpuState(d))
	}
	if a.parts.Artifacts != nil {
		s.Artifacts = a.parts.Artifacts.Known(maxArtifacts)
	}
	s.Quantizers = a.quantizers()
	a.mu.RLock()
	s.Draining = a.draining
	a.mu.RUnlock()
	return s
}

// maxArtifacts bounds the files that the state names.
const maxArtifacts = 1024

func (a *Agent) gpuState(d gpu.Device) *workerv1.Gpu {
	out := &workerv1.Gpu{
		Pool: d.Pool(), Uuid: d.UUID, Name: d.Name, MemoryTotalBytes: d.TotalBytes, MemoryUsedBytes: d.UsedBytes,
		MemoryFreeBytes: d.FreeBytes, UtilizationPercent: int32(d.Utilization), TemperatureCelsius: int32(d.Temperature),
		EccErrors: d.ECCErrors, Problem: a.parts.GPUs.Problem(d),
	}
	for _, p := range d.Processes[:min(len(d.Processes), gpu.MaxProcesses)] {
		out.Processes = append(out.Processes, &workerv1.GpuProcess{Pid: int32(p.PID), MemoryBytes: p.Bytes})
	}
	return out
}

// WatchState streams the state: at once, on change, and at least every second.
// It ends when the agent does, after a message that says so.
func (a *Agent) WatchState(req *workerv1.WatchStateRequest, stream grpc.ServerStreamingServer[workerv1.WatchStateResponse]) error {
	ctx := stream.Context()
	w := a.hub.add()
	defer a.hub.remove(w)
	for {
		w.settled()
		if err := stream.Send(&workerv1.WatchStateResponse{State: a.State(req.GetReplica())}); err != nil {
			return err
		}
		sent := a.parts.Clock.Now()
		more, err := a.awaitChange(ctx, w, sent)
		if err != nil {
			return err
		}
		if !more {
			return stream.Send(&workerv1.WatchStateResponse{State: a.State(req.GetReplica())})
		}
	}
}

// awaitChange returns when the next message is due; false after the last one.
func (a *Agent) awaitChange(ctx context.Context, w *watcher, sent time.Time) (bool, error) {
	timer := a.parts.Clock.NewTimer(stateEvery)
	defer timer.Stop()
	select {
	case <-w.urgent:
		return true, clock.Sleep(ctx, a.parts.Clock, settle)
	case <-w.load:
		return a.holdLoad(ctx, w, sent)
	case <-timer.C():
		return true, nil
	case <-a.ended:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// holdLoad waits until a message that only tells load is due, or a change that
// matters more has settled.
func (a *Agent) holdLoad(ctx context.Context, w *watcher, sent time.Time) (bool, error) {
	timer := a.parts.Clock.NewTimer(loadEvery - a.parts.Clock.Now().Sub(sent))
	defer timer.Stop()
	select {
	case <-w.urgent:
		return true, clock.Sleep(ctx, a.parts.Clock, settle)
	case <-timer.C():
		return true, nil
	case <-a.ended:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
