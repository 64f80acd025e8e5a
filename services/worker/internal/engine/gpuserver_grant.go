package engine

import (
	"math"
	"strconv"
)

// grant is how a server is told how much of its GPUs it may take.
type grant int

const (
	// ofTotal is a share of the whole GPU: vLLM's gpu-memory-utilization. vLLM does
	// not start where less than that is free, which it measures when its own CUDA
	// context is there (request_memory in vllm/v1/worker/utils.py); weights,
	// activations and KV cache then have to fit in (determine_available_memory in
	// vllm/v1/worker/gpu_worker.py).
	ofTotal grant = iota + 1
	// ofFree is a share of what is free as the server starts, in which weights and
	// KV cache have to fit: SGLang's mem-fraction-static. What is not in it stays for
	// activations and captured graphs (_profile_available_bytes, earlier
	// profile_max_num_token, in
	// python/sglang/srt/model_executor/model_runner_kv_cache_mixin.py).
	ofFree
)

const (
	// contextMemory is what a CUDA context takes, which vLLM does not count.
	contextMemory = 512 << 20
	// staticShare is what SGLang's weights and KV cache get of all that it takes. By
	// itself it leaves 13 of 80 GiB (server_args.py).
	staticShare = 5.0 / 6
	// mostFree is as much of what is free as is ever asked for.
	mostFree = 0.98
)

// take says how much the server takes, and has it told so unless its spec does:
// said is the spec's share, or 0.
func (r *gpuReading) take(c GPUServerConfig, m Model, names gpuFlags, said float64) {
	switch {
	case said > 0 && names.grant == ofTotal:
		r.size.OfTotal = said
		return
	case said > 0:
		r.size.OfFree = said
		return
	}
	r.size.OfFree = c.GPUShare
	flag := "--" + names.fraction + "="
	switch {
	case !granted(m.GPUs):
	case names.grant == ofTotal:
		if total := largest(m.GPUs); total > 0 {
			r.flags = append(r.flags, flag+share(max(m.GPUs[0].Bytes-contextMemory, 0), total))
		}
	default:
		static := r.static(m.GPUs)
		r.fit = func(free map[string]int64) []string {
			least := int64(math.MaxInt64)
			for _, g := range m.GPUs {
				least = min(least, free[g.Pool])
			}
			if least <= 0 {
				return nil // not known: what SGLang takes by itself
			}
			return []string{flag + share(static, least)}
		}
	}
}

// static is what weights and KV cache may take of each GPU: at least what they
// need.
func (r *gpuReading) static(gpus []GPU) int64 {
	given := gpus[0].Bytes
	return min(max(int64(float64(given)*staticShare), r.size.PerGPU(len(gpus))-r.size.Each), given)
}

func granted(gpus []GPU) bool { return len(gpus) > 0 && gpus[0].Bytes > 0 }

// largest is the memory of the largest of the GPUs: of a share of it none gives
// more than it was asked for.
func largest(gpus []GPU) int64 {
	var total int64
	for _, g := range gpus {
		total = max(total, g.Total)
	}
	return total
}

// share is part of whole, rounded down: four digits are 8 MiB of 80 GiB.
func share(part, whole int64) string {
	f := min(math.Floor(float64(part)/float64(whole)*1e4)/1e4, mostFree)
	return strconv.FormatFloat(f, 'f', -1, 64)
}
