package engine

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// embedDialect is in what engines differ when they embed.
type embedDialect struct {
	// batch is how many inputs one request to the engine holds.
	batch int
	// batchTokens bounds what they hold together by LeastTokens, unless there is
	// only one; 0 does not. Work that was begun is not given up by every engine.
	batchTokens int
	// calls is how many requests to embed are computed at once; 0 is as many as
	// the engine has slots.
	calls int
	// tokens says that token ids are taken.
	tokens bool
	// shortens says that the engine can give shorter vectors.
	shortens bool
	// types says that the engine is told the input type itself.
	types bool
	// dimensions is the length of the model's vectors; 0 when not known.
	dimensions int
	// prefixes are put before texts, by input type, for models that were trained
	// with them and engines that do not know.
	prefixes map[string]string
}

// Embed sends the inputs in batches, one after the other, and no more once ctx
// has ended.
func (c *client) Embed(ctx context.Context, r EmbedRequest) (Embeddings, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	d := c.d.embed
	if err := d.check(r); err != nil {
		return Embeddings{}, err
	}
	out := Embeddings{Vectors: make([][]float32, 0, len(r.Inputs)), Usage: noUsage()}
	for rest := r.Inputs; len(rest) > 0; {
		n := d.next(rest)
		vectors, usage, err := c.embedInTurn(ctx, r, rest[:n])
		if err != nil {
			return Embeddings{}, err
		}
		out.Vectors = append(out.Vectors, vectors...)
		out.Usage.PromptTokens = add(out.Usage.GetPromptTokens(), usage.GetPromptTokens())
		out.Usage.CachedPromptTokens = add(out.Usage.GetCachedPromptTokens(), usage.GetCachedPromptTokens())
		rest = rest[n:]
	}
	return out, nil
}

// EmbedLimits returns why the engine cannot do what is asked, or what it takes
// in one call.
func (c *client) EmbedLimits(r EmbedRequest) (EmbedLimits, error) {
	d := c.d.embed
	if err := d.check(r); err != nil {
		return EmbedLimits{}, err
	}
	return EmbedLimits{Inputs: d.batch, Tokens: d.batchTokens, Calls: d.calls, Prefix: d.prefixes[r.InputType]}, nil
}

// next counts the inputs at the beginning that are sent together.
func (d embedDialect) next(inputs []Input) int {
	inputs = inputs[:min(d.batch, sameKind(inputs))]
	if d.batchTokens == 0 {
		return len(inputs)
	}
	tokens := 0
	for i, in := range inputs {
		if tokens += in.LeastTokens(); tokens > d.batchTokens {
			return max(i, 1)
		}
	}
	return len(inputs)
}

func (c *client) embedInTurn(ctx context.Context, r EmbedRequest, inputs []Input) ([][]float32, *commonv1.TokenUsage, error) {
	if r.Turn != nil {
		done, err := r.Turn(ctx)
		if err != nil {
			return nil, nil, err
		}
		defer done()
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	return c.embedBatch(ctx, r, inputs)
}

// sameKind counts the inputs at the beginning that are all texts or all tokens:
// OpenAI's API takes no mixture.
func sameKind(inputs []Input) int {
	for i, in := range inputs {
		if (len(in.Tokens) > 0) != (len(inputs[0].Tokens) > 0) {
			return i
		}
	}
	return len(inputs)
}

func (d embedDialect) check(r EmbedRequest) error {
	if r.Dimensions != 0 && !d.shortens && r.Dimensions != d.dimensions {
		return apierr.Invalid("dimensions", "this model's vectors cannot be shortened: they have %s dimensions", orUnknown(d.dimensions))
	}
	for i, in := range r.Inputs {
		if len(in.Tokens) > 0 && !d.tokens {
			return apierr.Invalid("input["+strconv.Itoa(i)+"]", "this model's engine takes text, not token ids")
		}
	}
	return nil
}

func orUnknown(n int) string {
	if n == 0 {
		return "a fixed number of"
	}
	return strconv.Itoa(n)
}

func (c *client) embedBatch(ctx context.Context, r EmbedRequest, inputs []Input) ([][]float32, *commonv1.TokenUsage, error) {
	body, err := c.embedBody(r, inputs)
	if err != nil {
		return nil, nil, err
	}
	answer, err := c.post(ctx, "/embeddings", body)
	if err != nil {
		return nil, nil, err
	}
	vectors, usage, err := decodeEmbeddings(answer, len(inputs), c.wantDimensions(r))
	c.holdPrompts(ctx, usage, len(inputs))
	return vectors, usage, err
}

func (c *client) wantDimensions(r EmbedRequest) int {
	if r.Dimensions != 0 {
		return r.Dimensions
	}
	return c.d.embed.dimensions
}

func (c *client) embedBody(r EmbedRequest, inputs []Input) ([]byte, error) {
	var input any
	if len(inputs[0].Tokens) > 0 {
		lists := make([][]int32, len(inputs))
		for i, in := range inputs {
			lists[i] = in.Tokens
		}
		input = lists
	} else {
		list := make([]string, len(inputs))
		for i, in := range inputs {
			list[i] = c.d.embed.prefixes[r.InputType] + in.Text
		}
		input = list
	}
	encoded, err := json.Marshal(input)
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the inputs cannot be encoded")
	}
	set := []jsonbody.Member{
		{Name: "model", Value: c.model},
		{Name: "input", Value: encoded},
		// A third of the size of numbers, and exact; engines that do not know it
		// answer with numbers, which are read as well.
		{Name: "encoding_format", Value: []byte(`"base64"`)},
	}
	if r.InputType != "" && c.d.embed.types {
		set = append(set, jsonbody.Member{Name: "input_type", Value: quote(r.InputType)})
	}
	if r.Dimensions != 0 && c.d.embed.shortens {
		set = append(set, jsonbody.Member{Name: "dimensions", Value: strconv.AppendInt(nil, int64(r.Dimensions), 10)})
	}
	extra := r.Extra
	if len(extra) == 0 {
		extra = []byte("{}")
	}
	ours := []string{"model", "input", "encoding_format", "dimensions"}
	if r.InputType != "" {
		ours = append(ours, "input_type")
	}
	body, err := jsonbody.Set(extra, jsonbody.Named(ours...), set...)
	if err != nil {
		return nil, badBody(err)
	}
	return body, nil
}

type embeddingsJSON struct {
	Data []struct {
		Index     int       `json:"index"`
		Embedding vectorRaw `json:"embedding"`
	} `json:"data"`
	Usage json.RawMessage `json:"usage"`
}

// vectorRaw is a vector as numbers, or as base64 of little-endian float32.
type vectorRaw []float32

func (v *vectorRaw) UnmarshalJSON(data []byte) error {
	if len(data) == 0 || data[0] != '"' {
		return json.Unmarshal(data, (*[]float32)(v))
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("a vector: %w", err)
	}
	if len(raw)%4 != 0 {
		return errors.New("a vector has an odd number of bytes")
	}
	*v = make([]float32, len(raw)/4)
	for i := range *v {
		(*v)[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return nil
}

func decodeEmbeddings(answer []byte, want, dimensions int) ([][]float32, *commonv1.TokenUsage, error) {
	var e embeddingsJSON
	if err := json.Unmarshal(answer, &e); err != nil {
		return nil, nil, apierr.Wrap(apierr.EngineFailed, err, "the engine's embeddings cannot be read")
	}
	if len(e.Data) != want {
		return nil, nil, apierr.New(apierr.EngineFailed, "the engine gave %d embeddings for %d inputs", len(e.Data), want)
	}
	vectors := make([][]float32, want)
	for _, d := range e.Data {
		if d.Index < 0 || d.Index >= want || vectors[d.Index] != nil {
			return nil, nil, apierr.New(apierr.EngineFailed, "the engine gave an embedding the index %d", d.Index)
		}
		if err := checkVector(d.Embedding, dimensions); err != nil {
			return nil, nil, err
		}
		vectors[d.Index] = d.Embedding
	}
	return vectors, usageOf(e.Usage), nil
}

func checkVector(v []float32, dimensions int) error {
	if len(v) == 0 || dimensions != 0 && len(v) != dimensions {
		return apierr.New(apierr.EngineFailed, "the engine gave an embedding of %d dimensions, not %d", len(v), dimensions)
	}
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return apierr.New(apierr.EngineFailed, "the engine gave an embedding that holds no number")
		}
	}
	return nil
}
