package authz

// conversationsMatrix says who may call what is about conversations.
func conversationsMatrix() map[string]string {
	const users = "platform admin, admin, developer, reader"
	return map[string]string{
		"ConversationService/ListConversations":       users,
		"ConversationService/GetConversation":         users,
		"ConversationService/DeleteConversation":      users,
		"ConversationService/CreateConversation":      users,
		"ConversationService/UpdateConversation":      users,
		"ConversationService/ListConversationItems":   users,
		"ConversationService/GetConversationItem":     users,
		"ConversationService/CreateConversationItems": users,
		"ConversationService/DeleteConversationItem":  users,
		"ConversationService/PurgeConversations":      "platform admin, admin",
	}
}
