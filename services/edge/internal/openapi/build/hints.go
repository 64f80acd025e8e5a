package main

import "github.com/poterne/poterne/services/edge/internal/openai"

// hints are the headers that say how a request is to be served.
func hints() []any {
	text := object{"type": "string"}
	return []any{
		object{
			"name": openai.HeaderPriority, "in": "header",
			"schema": object{"type": "string", "enum": []any{"interactive", "standard", "batch"}},
			"description": "How urgent the request is: classes come strictly in order. Interactive is for some roles. " +
				"Without it `service_tier` counts: `priority` is interactive and `flex` is batch.",
		},
		object{
			"name": openai.HeaderSession, "in": "header", "schema": text,
			"description": "The conversation that the request belongs to, at most 256 bytes: it is kept on the worker that has its cache. " +
				"Without it `prompt_cache_key` counts.",
		},
		object{
			"name": openai.HeaderWait, "in": "header", "schema": text,
			"description": "How long to wait for a model that is being loaded, or whose engine is started again, up to 10m, such as `30s`; `0s` answers 503 at once.",
		},
	}
}
