package engine

import (
	"math"
	"strconv"

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

// memory estimates what llama-server takes for weights, KV cache and buffers,
// by memory pool. gpuLayers is the spec's n-gpu-layers: without it nothing is
// put on a GPU.
func (g ggufInfo) memory(slots, tokens int, gpuLayers string) map[string]int64 {
	layers, err := strconv.Atoi(gpuLayers)
	if err != nil || layers < 0 {
		layers = 0
	}
	estimate := g.file.EstimateLLaMACppRun(
		gguf_parser.WithLLaMACppContextSize(int32(min(slots*tokens, math.MaxInt32))),
		gguf_parser.WithParallelSize(int32(slots)),
		gguf_parser.WithLLaMACppOffloadLayers(uint64(layers)),
	)
	sum := estimate.SummarizeItem(true, 0, 0)
	out := map[string]int64{PoolCPU: int64(sum.RAM.NonUMA)}
	if layers > 0 {
		for i, v := range sum.VRAMs {
			out["gpu"+strconv.Itoa(i)] = int64(v.NonUMA)
		}
	}
	return out
}
