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
	response := func(more string) request {
		return request{json: `{"input":{"text":"hello"}` + more + `}`, rest: `{"input":"hello"` + more + `}`}
	}
	return map[string]request{
		"ResponsesService/CreateResponse":           response(``),
		"ResponsesService/CreateResponse+alias":     response(`,"model":"{model}@{alias}"`),
		"ResponsesService/CreateResponse+retrieval": response(`,"model":"sim-chat","retrieval":{"collection":"{collection}"}`),
		"ResponsesService/StreamResponse":           response(``),
		"ResponsesService/CreateResponse+previous":  response(`,"model":"sim-chat","previous_response_id":"{kept}"`),
		"ResponsesService/GetResponse":              {json: `{"response_id":"{kept}"}`, reads: true, tells: true},
		"ResponsesService/DeleteResponse":           {json: `{"response_id":"{kept}"}`},
		"ResponsesService/ListResponseInputItems":   {json: `{"response_id":"{kept}"}`, reads: true, tells: true},
		"ResponsesService/CancelResponse":           {json: `{"response_id":"{kept}"}`},
		"ResponsesService/CountResponseInputTokens": {json: `{"input":{"text":"hello"}}`, rest: `{"input":"hello"}`},
		"ResponsesService/CountResponseInputTokens+previous": {
			json: `{"model":"sim-chat","input":{"text":"hello"},"previous_response_id":"{kept}"}`,
			rest: `{"model":"sim-chat","input":"hello","previous_response_id":"{kept}"}`,
		},
		"MessagesService/CreateMessage":           message(``),
		"MessagesService/CreateMessage+alias":     message(`,"model":"{model}@{alias}"`),
		"MessagesService/CreateMessage+retrieval": message(`,"model":"sim-chat","retrieval":{"collection":"{collection}"}`),
		"MessagesService/StreamMessage":           message(``),
		"MessagesService/CountMessageTokens":      count,
		"ModerationService/CreateModeration":      {json: `{"model":"detectors","input":{"text":"hello"}}`, rest: `{"model":"detectors","input":"hello"}`, nothing: "it keeps nothing and asks nobody"},
	}
}
