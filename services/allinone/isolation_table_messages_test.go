package allinone

// messageRequests are those in Anthropic's shape, and moderations.
func messageRequests() map[string]request {
	message := func(more string) request {
		return request{
			json: `{"max_tokens":1,"messages":[{"role":"user","content":{"text":"hello"}}]` + more + `}`,
			rest: `{"max_tokens":1,"messages":[{"role":"user","content":"hello"}]` + more + `}`,
		}
	}
	count := request{
		json: `{"messages":[{"role":"user","content":{"text":"hello"}}]}`,
		rest: `{"messages":[{"role":"user","content":"hello"}]}`,
	}
	return map[string]request{
		"MessagesService/CreateMessage":           message(``),
		"MessagesService/CreateMessage+alias":     message(`,"model":"{model}@{alias}"`),
		"MessagesService/CreateMessage+retrieval": message(`,"model":"sim-chat","retrieval":{"collection":"{collection}"}`),
		"MessagesService/StreamMessage":           message(``),
		"MessagesService/CountMessageTokens":      count,
		"ModerationService/CreateModeration":      {json: `{"input":{"text":"hello"}}`, rest: `{"input":"hello"}`, nothing: "it keeps nothing and asks nobody"},
	}
}
