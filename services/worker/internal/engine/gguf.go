package engine

import (
	"math"

	"github.com/gpustack/gguf-parser-go"

	"github.com/poterne/poterne/pkg/apierr"
)

// ggufInfo is what a GGUF file tells before it is loaded.
type ggufInfo struct {
	file           *gguf_parser.GGUFFile
	trainedContext int
}

func readGGUF(f File) (ggufInfo, error) {
	file, err := gguf_parser.ParseGGUFFile(f.Path, gguf_parser.SkipLargeMetadata(), gguf_parser.UseMMap())
	if err != nil {
		return ggufInfo{}, apierr.Wrap(apierr.FailedPrecondition, err, "the weights are not a GGUF file that can be read")
	}
	trained := file.Architecture().MaximumContextLength
	return ggufInfo{file: file, trainedContext: int(min(trained, math.MaxInt32))}, nil
}

// memory estimates what llama-server takes of the main memory for weights, KV
// cache and buffers when it uses no GPU.
func (g ggufInfo) memory(slots, tokens int) map[string]int64 {
	return map[string]int64{PoolCPU: host(g.estimate(slots, tokens, 0))}
}

// host is what an estimate says of the main memory, with the weights that stay
// there: they are mapped and so could be dropped, but each answer reads all of
// them.
func host(e gguf_parser.LLaMACppRunEstimate) int64 {
	const mapped = false
	return int64(e.SummarizeItem(mapped, 0, 0).RAM.NonUMA)
}

// cudaContext is what CUDA itself takes of each GPU for one process: 300 to 500
// MiB on present GPUs.
const cudaContext = 512 << 20

// size estimates what llama-server takes when it puts so many layers on GPUs;
// allLayers is all of them.
func (g ggufInfo) size(slots, tokens, layers int) Size {
	e := g.estimate(slots, tokens, layers)
	s := Size{Host: host(e), Each: cudaContext}
	for _, d := range e.Devices[1:] {
		w := d.Weight
		s.Shared += int64(w.Input + w.Compute + w.Output + d.KVCache.Key + d.KVCache.Value)
		c := d.Computation
		s.Each += int64(d.Footprint + c.Footprint + c.Input + c.Output + max(c.Compute, 0))
	}
	return s
}

func (g ggufInfo) estimate(slots, tokens, layers int) gguf_parser.LLaMACppRunEstimate {
	opts := []gguf_parser.GGUFRunEstimateOption{
		gguf_parser.WithLLaMACppContextSize(int32(min(int64(slots)*int64(tokens), math.MaxInt32))),
		gguf_parser.WithParallelSize(int32(slots)),
	}
	if layers != allLayers {
		opts = append(opts, gguf_parser.WithLLaMACppOffloadLayers(uint64(layers)))
	}
	return g.file.EstimateLLaMACppRun(opts...)
}
