package allinone

// conversationRequests are those about what the gateway remembers.
func conversationRequests() map[string]request {
	return map[string]request{
		"ConversationService/ListConversations":        {nothing: listsOwn},
		"ConversationService/GetConversation":          {json: `{"id":"{conversation}"}`, reads: true},
		"ConversationService/DeleteConversation":       {json: `{"id":"{conversation}"}`},
		"ConversationService/CreateConversation":       {nothing: "it begins one of the caller's own"},
		"ConversationService/UpdateConversation":       {json: `{"id":"{talk}","metadata":{"a":"b"}}`, rest: `{"metadata":{"a":"b"}}`},
		"ConversationService/ListConversationItems":    {json: `{"conversation_id":"{talk}"}`, reads: true, tells: true},
		"ConversationService/CreateConversationItems":  {json: `{"conversation_id":"{talk}","items":[{"role":"user","content":{"text":"hello"}}]}`, rest: `{"items":[{"role":"user","content":"hello"}]}`},
		"ConversationService/GetConversationItem":      {json: `{"conversation_id":"{talk}","item_id":"{item}"}`, reads: true, tells: true},
		"ConversationService/DeleteConversationItem":   {json: `{"conversation_id":"{talk}","item_id":"{item}"}`},
		"ConversationService/PurgeConversations":       {json: `{"tenant":"{tenant}"}`},
		"ConversationService/PurgeConversations+one":   {json: `{"tenant":"{tenant}","subject":"{subject}","id":"{conversation}"}`},
		"ResponsesService/CreateResponse+conversation": {json: `{"model":"sim-chat","max_output_tokens":1,"input":{"text":"hello"},"extra":{"conversation":"\"{talk}\""}}`, rest: `{"model":"sim-chat","max_output_tokens":1,"input":"hello","conversation":"{talk}"}`},
		"OpenAIService/CreateChatCompletion+memory":    {json: `{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":{"text":"hello"}}],"memory":{"conversation":"talk-1"}}`, rest: `{"model":"sim-chat","max_tokens":1,"messages":[{"role":"user","content":"hello"}],"memory":{"conversation":"talk-1"}}`, nothing: "a conversation of that name is the caller's own"},
	}
}
