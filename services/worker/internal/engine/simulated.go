package engine

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"
)

// Simulated is this project's simulated engine, which speaks vLLM's API.
type Simulated struct {
	program *Program
	queue   int
}

// NewSimulated returns the adapter; queue is how many requests may wait.
func NewSimulated(program *Program, queue int) *Simulated { return &Simulated{program, queue} }

// simMemory is what the simulator takes; the weights it pretends to have take
// nothing.
const simMemory = 48 << 20

const (
	simSlots   = 64
	simContext = 8192
	simIdle    = 90 * time.Second
	simCalls   = 1 // to embed, at once
)

// Kind is sim.
func (*Simulated) Kind() string { return KindSim }

// Available looks for the program.
func (s *Simulated) Available() error {
	_, err := s.program.Path()
	return err
}

func simParameters() map[string]flagKind {
	count, positive := integer(0, math.MaxInt32), integer(1, math.MaxInt32)
	rate := number(math.MaxFloat32)
	return map[string]flagKind{
		"answer-tokens": positive, "crash-after": count, "decode-rate": rate, "disconnect-after": count,
		"embedding-call": duration(), "embedding-calls": positive, "embedding-rate": rate,
		"error-rate": number(1), "error-status": integer(400, 599), "first-token": duration(), "hang": aSwitch(),
		"kv-tokens": positive, "max-waiting": positive, "prefill-parallel": count, "prefill-rate": rate, "seed": integer(0, 1<<53), "start-delay": duration(),
	}
}

// Plan starts the simulator with the spec's parameters as its flags.
func (s *Simulated) Plan(ctx context.Context, m Model) (*Plan, error) {
	path, err := s.program.Path()
	if err != nil {
		return nil, unavailable(s.Kind(), err)
	}
	p := newParameters(m.Spec.GetParameters())
	slots := p.number(parameterSlots, simSlots, 1<<20)
	p.within(parameterGPUMemory, 0, 0, math.MaxInt64)
	p.within(parameterHeads, 0, 0, maxHeads)
	args := []string{"--host", "127.0.0.1", "--model", m.Name, "--slots", strconv.Itoa(slots)}
	calls := simCalls
	if n, err := strconv.Atoi(p.left["embedding-calls"]); err == nil { // it is checked with the other flags
		calls = n
	}
	tokens := simTokens(m)
	args = append(args, "--context", strconv.Itoa(tokens))
	if n := m.Spec.GetEmbeddingDimensions(); n > 0 {
		args = append(args, "--dimensions", strconv.Itoa(int(n)))
	}
	args = slices.Concat(s.program.first(), args, p.flags(simParameters(), joined), s.program.stdinFlag(ctx))
	if err := p.problem(); err != nil {
		return nil, err
	}
	memory := map[string]int64{PoolCPU: simMemory}
	if len(m.GPUs) > 0 {
		size, err := s.Size(ctx, m)
		if err != nil {
			return nil, err
		}
		memory = size.On(m.GPUs)
	}
	return &Plan{
		Command: &Command{Path: path, Env: cudaEnv(m.GPUs), Args: func(port int) []string { return append(slices.Clone(args), "--port", strconv.Itoa(port)) }},
		Connect: func(port int) Engine {
			d := vllmDialect(m, port)
			d.idle, d.embed.calls = simIdle, calls
			return newClient(d)
		},
		Slots: slots, MaxInFlight: slots + s.queue, ContextLength: tokens,
		MemoryBytes: memory,
	}, nil
}

// The parameters that only say what the simulator pretends to take of GPUs.
const (
	parameterSlots     = "slots"
	parameterGPUMemory = "gpu-memory"
	parameterHeads     = "attention-heads"
)

// Size is what the spec has the simulator pretend: gpu-memory bytes, spread over
// GPUs whose number divides attention-heads; or, when it has weights, what an
// engine would take that really read them.
func (s *Simulated) Size(_ context.Context, m Model) (Size, error) {
	p := newParameters(m.Spec.GetParameters())
	slots := p.number(parameterSlots, simSlots, 1<<20)
	size := Size{Host: simMemory, Heads: p.within(parameterHeads, 0, 0, maxHeads)}
	size.Shared = int64(p.within(parameterGPUMemory, 0, 0, math.MaxInt64))
	if err := p.problem(); err != nil || size.Shared > 0 || !slices.ContainsFunc(m.Files, isSafetensors) {
		return size, err
	}
	size, err := SizeOfSafetensors(m, slots, simTokens(m), 0)
	size.Host = simMemory
	return size, err
}

func simTokens(m Model) int {
	if n := int(m.Spec.GetContextLength()); n > 0 {
		return n
	}
	return simContext
}
