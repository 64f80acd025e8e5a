package engine

import (
	"context"
	"strings"
)

// GPU is one GPU that an engine is to use.
type GPU struct {
	// Pool is the memory pool that is its memory.
	Pool string
	// Device names it to CUDA: its UUID, or its index where that is not known.
	Device string
	// Total is all its memory, as its driver says, in bytes; 0 when not known.
	Total int64
	// Bytes is how much of that the engine is to take, of one whose Size is Greedy;
	// 0 leaves it to the engine.
	Bytes int64
}

// Sizer is an Adapter whose engine can use GPUs. It says how large a model is,
// so that the agent can decide which GPUs the engine gets: they are then in
// Model.GPUs when the Adapter is asked for a plan. It is asked only on a machine
// that has GPUs.
type Sizer interface {
	Size(ctx context.Context, m Model) (Size, error)
}

// Size is what a model takes, in bytes.
type Size struct {
	// Host is what it takes of the main memory when it runs on GPUs.
	Host int64
	// Shared is what its GPUs take together, in equal parts: weights and KV cache.
	// 0 is a model that runs on no GPU; the plan says what it takes.
	Shared int64
	// Each is what each GPU takes besides: the engine's own buffers.
	Each int64
	// Heads, unless 0, must be divided by the number of GPUs, and that must be a
	// power of two: the engine splits each layer (tensor parallelism). Otherwise
	// it deals out whole layers, and any number will do.
	Heads int
	// Exactly, unless 0, is the number of GPUs that the spec asks for.
	Exactly int
	// Greedy says that the engine takes all that it is allowed to: what the agent
	// sets aside is told it as GPU.Bytes. Shared and Each are then the least it needs.
	Greedy bool
	// OfFree is the share of what is free of each GPU that a greedy engine is given,
	// if that is more than it needs; OfTotal the share of each whole GPU that it
	// will take in any case, because its spec says so. Both are from 0 to 1.
	OfFree, OfTotal float64
}

// Splits reports whether the model can be spread over n GPUs.
func (s Size) Splits(n int) bool {
	switch {
	case n < 1 || s.Exactly != 0 && n != s.Exactly:
		return false
	case n == 1 || s.Heads == 0:
		return true
	default:
		return n&(n-1) == 0 && s.Heads%n == 0
	}
}

// PerGPU is what each of n GPUs takes.
func (s Size) PerGPU(n int) int64 {
	return (s.Shared+int64(n)-1)/int64(n) + s.Each
}

// On is what the model takes on the given GPUs and beside them, by memory pool.
func (s Size) On(gpus []GPU) map[string]int64 {
	out := map[string]int64{PoolCPU: s.Host}
	for _, g := range gpus {
		if out[g.Pool] = g.Bytes; g.Bytes == 0 {
			out[g.Pool] = s.PerGPU(len(gpus))
		}
	}
	return out
}

// cudaEnv shows the engine its GPUs and no others. They are numbered in the
// order in which nvidia-smi lists them, where numbers name them.
func cudaEnv(gpus []GPU) []string {
	names := make([]string, len(gpus))
	for i, g := range gpus {
		names[i] = g.Device
	}
	return []string{"CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=" + strings.Join(names, ",")}
}

// equalSplit is llama-server's --tensor-split for n equal parts.
func equalSplit(n int) string {
	return strings.TrimSuffix(strings.Repeat("1,", n), ",")
}
