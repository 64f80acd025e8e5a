package engine

import (
	"context"
	"encoding/json"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/services/worker/internal/jsonbody"
)

// llamaSignals reads llama-server's metrics and, since newer builds have none
// for it, the use of the KV cache from its slots (tools/server/README.md, GET
// /metrics and GET /slots). It counts what of a prompt came from the cache
// apart; here it is part of the prompt, as with the others.
func llamaSignals(ctx context.Context, c *client, root string) (Signals, error) {
	m, err := c.metrics(ctx, root+"/metrics")
	if err != nil {
		return Signals{}, err
	}
	s := Signals{
		Running: m.sum("llamacpp:requests_processing"), Waiting: m.sum("llamacpp:requests_deferred"),
		KVCacheUsage: m.share("llamacpp:kv_cache_usage_ratio"),
		PromptTokens: m.sum("llamacpp:prompt_tokens_total"), GeneratedTokens: m.sum("llamacpp:tokens_predicted_total"),
		CacheHits: m.sum("llamacpp:prompt_tokens_cached_total"),
	}
	if s.CacheHits != nil && s.PromptTokens != nil {
		lookups := *s.CacheHits + *s.PromptTokens
		s.CacheLookups, s.PromptTokens = &lookups, &lookups
	}
	if s.KVCacheUsage == nil {
		s.KVCacheUsage = llamaSlotsUsage(ctx, c, root)
	}
	return s, nil
}

// llamaSlotsUsage is the share of all slots' context that requests hold; what an
// idle slot keeps can be had. Nil when the slots are not shown (--no-slots), or
// by a build that does not tell their tokens.
func llamaSlotsUsage(ctx context.Context, c *client, root string) *float64 {
	body, err := c.getAtMost(ctx, root+"/slots", maxMetricsBytes)
	if err != nil {
		return nil
	}
	var slots []struct {
		Context    float64  `json:"n_ctx"`
		Processing bool     `json:"is_processing"`
		Tokens     *float64 `json:"n_prompt_tokens"`
	}
	if json.Unmarshal(body, &slots) != nil {
		return nil
	}
	var held, total float64
	for _, s := range slots {
		if s.Tokens == nil || *s.Tokens < 0 || s.Context <= 0 {
			return nil
		}
		total += s.Context
		if s.Processing {
			held += *s.Tokens
		}
	}
	if total == 0 {
		return nil
	}
	usage := min(held/total, 1)
	return &usage
}

// llamaCount puts a chat into the model's template (POST /apply-template) and
// counts the tokens (POST /tokenize). Images and audio count nothing.
func llamaCount(ctx context.Context, c *client, root string, q question) (int, error) {
	prompt := q.prompt
	if q.chat != nil {
		var applied struct {
			Prompt *string `json:"prompt"`
		}
		if err := c.ask(ctx, root+"/apply-template", &applied, q.chat...); err != nil {
			return 0, err
		}
		if applied.Prompt == nil {
			return 0, apierr.New(apierr.EngineFailed, "the engine's prompt cannot be read")
		}
		prompt = quote(*applied.Prompt)
	}
	var answer struct {
		Tokens []json.RawMessage `json:"tokens"`
	}
	yes := []byte("true")
	err := c.ask(ctx, root+"/tokenize", &answer, jsonbody.Member{Name: "content", Value: prompt},
		// As for a request: the model's first token, and special ones by name.
		jsonbody.Member{Name: "add_special", Value: yes}, jsonbody.Member{Name: "parse_special", Value: yes})
	if err != nil {
		return 0, err
	}
	n := len(answer.Tokens)
	if answer.Tokens == nil {
		return counted(nil)
	}
	return counted(&n)
}
