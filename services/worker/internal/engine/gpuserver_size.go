package engine

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	// runtimeMemory is what such a server takes besides weights and KV cache, where
	// no more is known of the model.
	runtimeMemory = 1 << 30
	maxGPUs       = 64
)

// gpuFlags are the names of one server's own flags.
type gpuFlags struct {
	slots, context string
	// tensor is the number of GPUs over which each layer is split, as a spec says
	// it, and tensorFlag as the server is told where the spec does not.
	tensor, tensorFlag string
	// groups is how many such groups of GPUs there are, of which each has either a
	// part of the layers or, with copies, all of them.
	groups string
	copies bool
	// fraction is how much of its GPUs the server takes, and grant how that is said
	// of what the worker gives it.
	fraction string
	grant    grant
	others   map[string]flagKind
}

// gpuReading is what a spec and its files say.
type gpuReading struct {
	source        string
	slots, tokens int
	size          Size
	prefixes      map[string]string
	flags         []string
	fit           func(free map[string]int64) []string
}

// read checks the spec against the files.
func (c GPUServerConfig) read(m Model, names gpuFlags) (gpuReading, error) {
	var r gpuReading
	var err error
	p := newParameters(m.Spec.GetParameters())
	if r.source, err = c.modelOf(m, p); err != nil {
		return r, err
	}
	r.slots = p.number(names.slots, c.Slots, maxSlots)
	r.tokens = p.context(names.context, m)
	groups := min(p.peek(names.groups), maxGPUs)
	asks := p.has(names.tensor) || p.has(names.groups)
	if asks {
		r.size.Exactly = min(p.peek(names.tensor)*groups, maxGPUs)
	}
	r.size.Shared = p.size(parameterMemory)
	known := hasTransformer(m)
	if r.size.Shared == 0 && !known {
		r.size.Shared = roughly(m, p)
	}
	said := p.fraction(names.fraction)
	r.prefixes = prefixesOf(p)
	r.flags = p.flags(names.others, joined)
	if err := p.problem(); err != nil {
		return r, err
	}
	if known {
		if err := r.measure(m); err != nil {
			return r, err
		}
	} else if r.size.Exactly == 0 {
		r.size.Exactly = 1 // over how many it could be split is not known
	}
	if names.copies {
		r.size.Shared = mulCapped(r.size.Shared, int64(groups))
	}
	if !c.CPU {
		r.size.Host = transformerHost
	}
	if len(m.GPUs) > 1 && !asks {
		r.flags = append(r.flags, names.tensorFlag+"="+strconv.Itoa(len(m.GPUs)))
	}
	if r.size.Greedy = !c.CPU; r.size.Greedy {
		r.take(c, m, names, said)
	}
	return r, nil
}

// measure reads the weights' headers and config.json. These engines start with
// room for one request of the full length, and take of their GPUs what they are
// allowed to: this is the least that a model needs. See grant for the rest.
func (r *gpuReading) measure(m Model) error {
	t, err := transformerOf(m)
	if err != nil {
		return err
	}
	if r.size.Exactly == 0 { // what the spec asks for is the engine's to judge
		r.size.Heads = t.Heads
	}
	if r.size.Shared > 0 {
		return nil
	}
	elements := 0
	if strings.HasPrefix(m.Spec.GetParameters()["kv-cache-dtype"], "fp8") {
		elements = 1
	}
	size, err := SizeOfSafetensors(m, 1, r.tokens, elements)
	r.size.Shared, r.size.Each = size.Shared, size.Each
	return err
}

func hasTransformer(m Model) bool {
	return slices.ContainsFunc(m.Files, isSafetensors) &&
		slices.ContainsFunc(m.Files, func(f File) bool { return f.base() == "config.json" })
}

// roughly is what a model takes of which only the size of the weights is known:
// a quarter more for the KV cache and buffers.
func roughly(m Model, p *parameters) int64 {
	var weights int64
	for _, f := range m.Files {
		if f.Role == RoleWeights {
			weights += f.SizeBytes
		}
	}
	if weights == 0 {
		p.fail(parameterMemory, "must say what the model takes: the size of its weights is not known")
	}
	return min(weights, math.MaxInt64/2)/4*5 + runtimeMemory
}

// sizeOf is what a model takes of GPUs: nothing when the program uses none.
func (c GPUServerConfig) sizeOf(m Model, names gpuFlags) (Size, error) {
	r, err := c.read(m, names)
	if err != nil || c.CPU {
		return Size{}, err
	}
	return r.size, nil
}

// memory is the model's, by pool. Without GPUs it is that of those which it
// would need, so that the refusal names them.
func (c GPUServerConfig) memory(m Model, size Size) map[string]int64 {
	switch {
	case c.CPU:
		return map[string]int64{PoolCPU: size.Shared + size.Each}
	case len(m.GPUs) > 0:
		return size.On(m.GPUs)
	}
	out := make(map[string]int64)
	n := max(size.Exactly, 1)
	for i := range n {
		out["gpu"+strconv.Itoa(i)] = size.PerGPU(n)
	}
	return out
}
