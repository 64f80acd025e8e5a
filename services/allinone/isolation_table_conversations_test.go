package allinone

// conversationRequests are those about what the gateway remembers.
func conversationRequests() map[string]request {
	return map[string]request{
		"ConversationService/ListConversations":       {nothing: listsOwn},
		"ConversationService/GetConversation":         {json: `{"id":"{conversation}"}`, reads: true},
		"ConversationService/DeleteConversation":      {json: `{"id":"{conversation}"}`},
		"ConversationService/CreateConversation":      {nothing: "it begins one of the caller's own"},
		"ConversationService/UpdateConversation":      {json: `{"id":"{conversation}","metadata":{"a":"b"}}`, rest: `{"metadata":{"a":"b"}}`},
		"ConversationService/ListConversationItems":   {json: `{"conversation_id":"{conversation}"}`, reads: true},
		"ConversationService/CreateConversationItems": {json: `{"conversation_id":"{conversation}","items":[{"role":"user","content":{"text":"hello"}}]}`, rest: `{"items":[{"role":"user","content":"hello"}]}`},
		"ConversationService/GetConversationItem":     {json: `{"conversation_id":"{conversation}","item_id":"{item}"}`, reads: true},
		"ConversationService/DeleteConversationItem":  {json: `{"conversation_id":"{conversation}","item_id":"{item}"}`},
		"ConversationService/PurgeConversations":      {json: `{"tenant":"{tenant}"}`},
		"ConversationService/PurgeConversations+one":  {json: `{"tenant":"{tenant}","subject":"{subject}","id":"{conversation}"}`},
		"OpenAIService/CreateChatCompletion+memory":   {json: `{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":{"text":"hello"}}],"memory":{"conversation":"talk-1"}}`, rest: `{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":"hello"}],"memory":{"conversation":"talk-1"}}`, nothing: "a conversation of that name is the caller's own"},
	}
}
