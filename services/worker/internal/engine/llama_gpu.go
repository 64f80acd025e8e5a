package engine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/process"
)

// The parameters of llama-server that are about GPUs.
const (
	parameterGPULayers   = "n-gpu-layers"
	parameterSplitMode   = "split-mode"
	parameterTensorSplit = "tensor-split"
)

const (
	// allLayers is every layer of a model.
	allLayers = -1
	// manyLayers is how llama-server is told that; more than a model has.
	manyLayers = 999
)

// reading is what a spec and its weights say.
type reading struct {
	weights       File
	info          ggufInfo
	slots, tokens int
	prefixes      map[string]string
	flags         []string
	// layers is how many go on GPUs if there are some, and explicit says that the
	// spec asks for so many.
	layers   int
	explicit bool
	// exactly is the number of GPUs that the spec asks for; 0 leaves it open.
	exactly int
	// split says that the spec says how the layers are split.
	split bool
}

// read checks the spec against the weights.
func (l *Llama) read(m Model) (reading, error) {
	var r reading
	var err error
	if r.weights, err = weightsOf(m); err != nil {
		return r, err
	}
	if r.info, err = readGGUF(r.weights); err != nil {
		return r, err
	}
	params := m.Spec.GetParameters()
	p := newParameters(params)
	r.slots = p.number("parallel", l.cfg.Slots, maxSlots)
	r.layers = l.cfg.GPULayers
	if text, ok := params[parameterGPULayers]; ok {
		r.layers = p.within(parameterGPULayers, allLayers, allLayers, 1<<20)
		r.explicit = text != strconv.Itoa(allLayers)
	}
	r.prefixes = prefixesOf(p)
	r.flags = p.flags(l.parameters(), apart)
	if err := p.problem(); err != nil {
		return r, err
	}
	if shares, ok := params[parameterTensorSplit]; ok {
		r.exactly, r.split = strings.Count(shares, ",")+1, true
	}
	if params[parameterSplitMode] == "none" {
		r.exactly = 1
	}
	r.tokens = int(m.Spec.GetContextLength())
	if r.tokens == 0 {
		r.tokens = min(l.cfg.Context, r.info.trainedContext)
	}
	if r.tokens > r.info.trainedContext {
		return r, apierr.Invalid("spec.context_length", "the model was trained for %d tokens of context, not %d", r.info.trainedContext, r.tokens)
	}
	return r, nil
}

// Size says what the model takes of GPUs: nothing when the spec or the program
// uses none.
func (l *Llama) Size(ctx context.Context, m Model) (Size, error) {
	r, err := l.read(m)
	if err != nil || r.layers == 0 || !l.cfg.Program.usesGPUs(ctx) {
		return Size{}, err
	}
	s := r.info.size(r.slots, r.tokens, r.layers)
	s.Exactly = r.exactly
	return s, nil
}

// gpuArgs puts layers on the GPUs, in equal parts unless the spec says
// otherwise; the parts are numbered as cudaEnv shows the GPUs.
func (l *Llama) gpuArgs(r reading, gpus []GPU) []string {
	if len(gpus) == 0 {
		return nil
	}
	layers := r.layers
	if layers == allLayers {
		layers = manyLayers
	}
	args := []string{"--" + parameterGPULayers, strconv.Itoa(layers)}
	if len(gpus) == 1 {
		return args
	}
	if !r.split {
		args = append(args, "--"+parameterTensorSplit, equalSplit(len(gpus)))
	}
	if !slices.Contains(r.flags, "--"+parameterSplitMode) {
		args = append(args, "--"+parameterSplitMode, "layer")
	}
	return args
}

// usesGPUs reports whether the program lists a device that is no CPU. One that
// cannot list its devices has none.
func (p *Program) usesGPUs(ctx context.Context) bool {
	const flag = "list-devices"
	if !p.knows(ctx, flag) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.devices == "" {
		path, err := p.Path()
		if err != nil {
			return false
		}
		answer, err := process.Ask(ctx, path, append(p.first(), "--"+flag)...)
		if err != nil || answer.Code != 0 {
			return false
		}
		p.devices = answer.Text()
	}
	_, list, found := strings.Cut(p.devices, "Available devices:")
	for line := range strings.Lines(list) {
		// "  CUDA0: NVIDIA H100 80GB HBM3 (81000 MiB, 80000 MiB free)"
		name, _, is := strings.Cut(strings.TrimSpace(line), ":")
		if is && found && name != "" && !strings.HasPrefix(name, "CPU") && !strings.HasPrefix(name, "BLAS") && !strings.Contains(name, " ") {
			return true
		}
	}
	return false
}
