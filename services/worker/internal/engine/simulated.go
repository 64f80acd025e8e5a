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
const simMemory = 24 << 20

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
	slots := p.number("slots", simSlots, 1<<20)
	args := []string{"--host", "127.0.0.1", "--model", m.Name, "--slots", strconv.Itoa(slots)}
	calls := simCalls
	if n, err := strconv.Atoi(p.left["embedding-calls"]); err == nil { // it is checked with the other flags
		calls = n
	}
	tokens := simContext
	if n := int(m.Spec.GetContextLength()); n > 0 {
		tokens = n
	}
	args = append(args, "--context", strconv.Itoa(tokens))
	if n := m.Spec.GetEmbeddingDimensions(); n > 0 {
		args = append(args, "--dimensions", strconv.Itoa(int(n)))
	}
	args = slices.Concat(s.program.first(), args, p.flags(simParameters(), joined), s.program.stdinFlag(ctx))
	if err := p.problem(); err != nil {
		return nil, err
	}
	return &Plan{
		Command: &Command{Path: path, Args: func(port int) []string { return append(slices.Clone(args), "--port", strconv.Itoa(port)) }},
		Connect: func(port int) Engine {
			d := vllmDialect(m, port)
			d.idle, d.embed.calls = simIdle, calls
			return newClient(d)
		},
		Slots: slots, MaxInFlight: slots + s.queue, ContextLength: tokens,
		MemoryBytes: map[string]int64{PoolCPU: simMemory},
	}, nil
}
