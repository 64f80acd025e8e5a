package engine

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/poterne/poterne/pkg/apierr"
	commonv1 "github.com/poterne/poterne/proto/gen/poterne/common/v1"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// Reranker is an Engine that scores how well documents answer a query.
type Reranker interface {
	// Rerank returns a score for each document.
	Rerank(ctx context.Context, r RerankRequest) (Relevance, error)
}

// RerankRequest is documents to score for a query.
type RerankRequest struct {
	Query     string
	Documents []string
	// Extra is a JSON object of parameters for the engine, or empty.
	Extra []byte
	// Turn is as in EmbedRequest.
	Turn func(ctx context.Context) (done func(), err error)
}

// Relevance is the scores in the order of the documents: more is more relevant.
type Relevance struct {
	Scores []float64
	Usage  *commonv1.TokenUsage
}

// rerankDialect is in what engines differ when they score documents. The path
// and the request are Cohere's and Jina's, which llama-server, vLLM, SGLang and
// the servers that stand behind OpenAI-compatible endpoints took over.
type rerankDialect struct {
	// batch is how many documents one request to the engine holds; 0 for engines
	// that have no such call.
	batch int
	// quiet asks the engine not to send the documents back, in the words of those
	// that do so unasked.
	quiet bool
}

// Rerank sends the documents in batches, one after the other, and no more once
// ctx has ended.
func (c *client) Rerank(ctx context.Context, r RerankRequest) (Relevance, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	if c.d.rerank.batch == 0 {
		return Relevance{}, apierr.New(apierr.InvalidArgument, "the model's engine does not score documents").WithField("model")
	}
	out := Relevance{Scores: make([]float64, 0, len(r.Documents)), Usage: noUsage()}
	for rest := r.Documents; len(rest) > 0; {
		n := min(c.d.rerank.batch, len(rest))
		scores, usage, err := c.rerankInTurn(ctx, r, rest[:n])
		if err != nil {
			return Relevance{}, err
		}
		out.Scores = append(out.Scores, scores...)
		out.Usage.PromptTokens = add(out.Usage.GetPromptTokens(), usage.GetPromptTokens())
		rest = rest[n:]
	}
	return out, nil
}

func (c *client) rerankInTurn(ctx context.Context, r RerankRequest, documents []string) ([]float64, *commonv1.TokenUsage, error) {
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
	body, err := c.rerankBody(r, documents)
	if err != nil {
		return nil, nil, err
	}
	answer, err := c.post(ctx, "/rerank", body)
	if err != nil {
		return nil, nil, err
	}
	scores, usage, err := decodeRelevance(answer, len(documents))
	c.holdPrompts(ctx, usage, len(documents))
	return scores, usage, err
}

func (c *client) rerankBody(r RerankRequest, documents []string) ([]byte, error) {
	list, err := json.Marshal(documents)
	if err != nil {
		return nil, apierr.Wrap(apierr.Internal, err, "the documents cannot be encoded")
	}
	set := []jsonbody.Member{
		{Name: "model", Value: c.model}, {Name: "query", Value: quote(r.Query)}, {Name: "documents", Value: list},
	}
	if c.d.rerank.quiet {
		set = append(set, jsonbody.Member{Name: "return_documents", Value: []byte("false")})
	}
	extra := r.Extra
	if len(extra) == 0 {
		extra = []byte("{}")
	}
	// What would leave scores out is not the caller's to say here.
	ours := jsonbody.Named("model", "query", "documents", "texts", "top_n", "return_documents", "return_text")
	body, err := jsonbody.Set(extra, ours, set...)
	if err != nil {
		return nil, badBody(err)
	}
	return body, nil
}

type relevanceJSON struct {
	Index *int     `json:"index"`
	Score *float64 `json:"relevance_score"`
	// Plain is SGLang's and text-embeddings-inference's name of it.
	Plain *float64 `json:"score"`
	// Meta is SGLang's, which tells no tokens but these.
	Meta struct {
		Tokens float64 `json:"prompt_tokens"`
	} `json:"meta_info"`
}

// decodeRelevance reads an answer: an object with results, or, as SGLang sends
// it (python/sglang/srt/entrypoints/openai/protocol.py, RerankResponse), their
// list alone.
func decodeRelevance(answer []byte, want int) ([]float64, *commonv1.TokenUsage, error) {
	var a struct {
		Results []relevanceJSON `json:"results"`
		Usage   json.RawMessage `json:"usage"`
	}
	into := any(&a)
	if list := bytes.TrimSpace(answer); len(list) > 0 && list[0] == '[' {
		into = &a.Results
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return nil, nil, apierr.Wrap(apierr.EngineFailed, err, "the engine's scores cannot be read")
	}
	if len(a.Results) != want {
		return nil, nil, apierr.New(apierr.EngineFailed, "the engine gave %d scores for %d documents", len(a.Results), want)
	}
	scores, seen := make([]float64, want), make([]bool, want)
	told := 0.0
	for _, r := range a.Results {
		score := r.Score
		if score == nil {
			score = r.Plain
		}
		if r.Index == nil || *r.Index < 0 || *r.Index >= want || seen[*r.Index] || score == nil {
			return nil, nil, apierr.New(apierr.EngineFailed, "the engine did not give one score for each document")
		}
		seen[*r.Index], scores[*r.Index] = true, *score
		told += r.Meta.Tokens
	}
	usage := relevanceUsage(a.Usage)
	if usage.GetPromptTokens() == 0 {
		usage.PromptTokens = count(told)
	}
	return scores, usage, nil
}

// relevanceUsage is usageOf for engines that, as Jina does, tell the total alone:
// all of it is prompt.
func relevanceUsage(raw []byte) *commonv1.TokenUsage {
	usage := usageOf(raw)
	var u struct {
		Total float64 `json:"total_tokens"`
	}
	if usage.GetPromptTokens() == 0 && len(raw) > 0 && json.Unmarshal(raw, &u) == nil {
		usage.PromptTokens = count(u.Total)
	}
	usage.CompletionTokens = 0
	return usage
}

var _ Reranker = (*client)(nil)
