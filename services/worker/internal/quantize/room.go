package quantize

import (
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/config"
)

// admit sees that there is room on the disk and in memory for what is to be made.
func (j *job) admit(sourceBytes int64) error {
	need := resultBytes(j.weights, j.Type)
	free, err := j.parts.DiskFree(j.cfg.Directory)
	if err != nil {
		return err
	}
	if spare := free - int64(j.cfg.MinFree); need > spare {
		return room(need, max(spare, 0), "the result needs about %s on the worker's disk, where %s may still be taken: %s are free, and quantize.min_free keeps %s of them",
			config.Bytes(need).InMiB(), config.Bytes(max(spare, 0)).InMiB(), config.Bytes(free).InMiB(), j.cfg.MinFree.InMiB())
	}
	if most := int64(j.cfg.MaxBytes); most > 0 {
		used, err := j.usedBytes()
		if err != nil {
			return err
		}
		if need > most-used {
			return room(need, max(most-used, 0), "the result needs about %s, and of the %s that quantize.max_bytes allows %s are taken: remove what no variant names from %s on the worker",
				config.Bytes(need).InMiB(), j.cfg.MaxBytes.InMiB(), config.Bytes(used).InMiB(), j.path(dirMade))
		}
	}
	return j.Admit(j.memoryBytes(sourceBytes, need))
}

func room(need, free int64, format string, args ...any) error {
	return apierr.New(apierr.FailedPrecondition, format, args...).WithMetadata("pool", "disk").
		WithMetadata("needed_bytes", strconv.FormatInt(need, 10)).WithMetadata("free_bytes", strconv.FormatInt(free, 10))
}

// memoryBytes is the most that the programs take of the main memory, which run one
// after the other.
func (j *job) memoryBytes(source, result int64) int64 {
	// llama-quantize has the largest tensor as it is, as numbers of four bytes, and
	// as it will be.
	const perNumber, programs = 4 + 4 + 2, 128 << 20
	need := j.weights.Largest*perNumber + programs
	if j.text != "" {
		need = max(need, j.weights.MeasureBytes(j.Window)+max(result-source, 0))
	}
	return need
}

// resultBytes is about what weights of the type take, rather more than less: the
// digit in a type's name is its bits, to which come scales, and larger tensors or
// those of an odd shape get more.
func resultBytes(w Weights, kind string) int64 {
	const head, largestBits = 32 << 20, 8.5
	bits := 8.5
	switch kind {
	case "f32":
		bits = 32
	case "f16", "bf16":
		bits = 16
	default:
		for _, r := range kind {
			if r >= '1' && r <= '8' {
				bits = float64(r-'0') + 1.5
				break
			}
		}
	}
	return int64(float64(w.Parameters)*bits/8+float64(w.Largest)*largestBits/8) + head
}
