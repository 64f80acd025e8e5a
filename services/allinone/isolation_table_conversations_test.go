package allinone

// conversationRequests are those about what the gateway remembers.
func conversationRequests() map[string]request {
	return map[string]request{
		"ConversationService/ListConversations":      {nothing: listsOwn},
		"ConversationService/GetConversation":        {json: `{"id":"{conversation}"}`, reads: true},
		"ConversationService/DeleteConversation":     {json: `{"id":"{conversation}"}`},
		"ConversationService/PurgeConversations":     {json: `{"tenant":"{tenant}"}`},
		"ConversationService/PurgeConversations+one": {json: `{"tenant":"{tenant}","subject":"{subject}","id":"{conversation}"}`},
		"OpenAIService/CreateChatCompletion+memory":  {json: `{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":{"text":"hello"}}],"memory":{"conversation":"talk-1"}}`, rest: `{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":"hello"}],"memory":{"conversation":"talk-1"}}`, nothing: "a conversation of that name is the caller's own"},
	}
}
