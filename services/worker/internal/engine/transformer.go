package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"github.com/poterne/poterne/pkg/apierr"
)

// Transformer is what config.json of a model in the Hugging Face layout tells:
// enough to say how large its KV cache is.
type Transformer struct {
	Layers, Heads, KVHeads, HeadDim int
	// MaxContext is the tokens that the model was trained for; 0 when not said.
	MaxContext int
	// LatentDim, unless 0, is the length of what is cached of a token in each layer
	// in place of keys and values (multi-head latent attention).
	LatentDim int
	// ElementBytes is the size of one number of the KV cache, by the model's dtype.
	ElementBytes int
}

const (
	maxConfigBytes = 4 << 20
	// What no model has, and what keeps products of these far from overflowing.
	maxLayers, maxHeads, maxHeadDim = 1 << 12, 1 << 12, 1 << 14
)

// hfConfig is the part of config.json that is read. Models that also see or hear
// keep it under text_config.
type hfConfig struct {
	Layers     int       `json:"num_hidden_layers"`
	Heads      int       `json:"num_attention_heads"`
	KVHeads    *int      `json:"num_key_value_heads"`
	HeadDim    *int      `json:"head_dim"`
	Hidden     int       `json:"hidden_size"`
	MaxContext int       `json:"max_position_embeddings"`
	LoraRank   int       `json:"kv_lora_rank"`
	RopeDim    int       `json:"qk_rope_head_dim"`
	DType      string    `json:"torch_dtype"`
	NewDType   string    `json:"dtype"`
	Text       *hfConfig `json:"text_config"`
}

// ParseTransformer reads a config.json.
func ParseTransformer(data []byte) (Transformer, error) {
	var c hfConfig
	if len(data) > maxConfigBytes {
		return Transformer{}, fmt.Errorf("config.json has more than %d bytes", maxConfigBytes)
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return Transformer{}, fmt.Errorf("config.json: %w", err)
	}
	if c.Text != nil && c.Text.Layers > 0 {
		outer := c
		c = *c.Text
		if c.DType == "" && c.NewDType == "" {
			c.DType, c.NewDType = outer.DType, outer.NewDType
		}
	}
	t := Transformer{Layers: c.Layers, Heads: c.Heads, KVHeads: c.Heads, MaxContext: max(c.MaxContext, 0)}
	if c.KVHeads != nil && *c.KVHeads > 0 {
		t.KVHeads = *c.KVHeads
	}
	if c.HeadDim != nil && *c.HeadDim > 0 {
		t.HeadDim = *c.HeadDim
	} else if c.Heads > 0 {
		t.HeadDim = c.Hidden / c.Heads
	}
	if c.LoraRank > 0 {
		t.LatentDim = c.LoraRank + max(c.RopeDim, 0)
	}
	within := func(n, limit int) bool { return n > 0 && n <= limit }
	if !within(t.Layers, maxLayers) || !within(t.Heads, maxHeads) || !within(t.KVHeads, maxHeads) ||
		!within(t.HeadDim, maxHeadDim) || t.LatentDim > maxHeadDim {
		return Transformer{}, fmt.Errorf("config.json: %d layers, %d heads, %d key-value heads of %d: not a transformer's figures",
			t.Layers, t.Heads, t.KVHeads, t.HeadDim)
	}
	t.ElementBytes = dtypeBytes(c.NewDType + c.DType)
	return t, nil
}

// dtypeBytes is the size of one number; two bytes unless the name says more or
// less, for that is what engines compute in.
func dtypeBytes(name string) int {
	switch {
	case strings.Contains(name, "float32"):
		return 4
	case strings.Contains(name, "float8"):
		return 1
	}
	return 2
}

// KVBytes is what the KV cache of so many tokens takes, with elementBytes for
// each number; 0 takes the model's own.
func (t Transformer) KVBytes(tokens int64, elementBytes int) int64 {
	if elementBytes <= 0 {
		elementBytes = t.ElementBytes
	}
	perToken := int64(2 * t.KVHeads * t.HeadDim)
	if t.LatentDim > 0 {
		perToken = int64(t.LatentDim)
	}
	return mulCapped(perToken*int64(t.Layers)*int64(elementBytes), tokens)
}

func mulCapped(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(max(a, 0)), uint64(max(b, 0)))
	if hi != 0 || lo > 1<<62 {
		return 1 << 62
	}
	return int64(lo)
}

const (
	// transformerEach is what an engine takes of each GPU besides weights and KV
	// cache: the CUDA context, captured graphs and activations. It is a first
	// guess, which what is seen corrects.
	transformerEach = 3 << 29
	// transformerHost is what an engine in Python takes of the main memory.
	transformerHost = 4 << 30
)

// SizeOfSafetensors estimates a model in the Hugging Face layout from the headers
// of its weights and from its config.json, for slots requests of tokens each.
// tokens is bounded by what the model was trained for. elementBytes is the size
// of one number of the KV cache, 0 for the model's own.
func SizeOfSafetensors(m Model, slots, tokens, elementBytes int) (Size, error) {
	var weights int64
	shards := 0
	for _, f := range m.Files {
		if !isSafetensors(f) {
			continue
		}
		n, err := safetensorsBytes(f.Path)
		if err != nil {
			return Size{}, apierr.Wrap(apierr.FailedPrecondition, err, "%s is not a safetensors file that can be read", f.base())
		}
		weights += n
		shards++
	}
	if shards == 0 {
		return Size{}, apierr.Invalid("spec.artifacts", "there is no safetensors file among them")
	}
	t, err := transformerOf(m)
	if err != nil {
		return Size{}, err
	}
	if tokens <= 0 || t.MaxContext > 0 && tokens > t.MaxContext {
		tokens = t.MaxContext
	}
	return Size{
		Host: transformerHost, Shared: weights + t.KVBytes(int64(slots)*int64(tokens), elementBytes), Each: transformerEach,
		Heads: t.Heads,
	}, nil
}

// transformerOf reads the config.json among the artifacts.
func transformerOf(m Model) (Transformer, error) {
	for _, f := range m.Files {
		if f.base() != "config.json" {
			continue
		}
		data, err := readBounded(f.Path, maxConfigBytes)
		if err == nil {
			var t Transformer
			if t, err = ParseTransformer(data); err == nil {
				return t, nil
			}
		}
		return Transformer{}, apierr.Wrap(apierr.FailedPrecondition, err, "config.json cannot be used: %v", err)
	}
	return Transformer{}, apierr.Invalid("spec.artifacts", "there is no config.json among them, which says how large the KV cache is")
}

func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return data, err
}

// base is the file's name as its publisher gave it.
func (f File) base() string {
	if f.Name != "" {
		return f.Name
	}
	return filepath.Base(f.Path)
}

func isSafetensors(f File) bool {
	return f.Role == RoleWeights && strings.HasSuffix(f.base(), ".safetensors")
}
