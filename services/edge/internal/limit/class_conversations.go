package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func conversationClasses() map[string]Class {
	return map[string]Class{
		edgev1.ConversationService_ListConversations_FullMethodName:       Read,
		edgev1.ConversationService_GetConversation_FullMethodName:         Read,
		edgev1.ConversationService_DeleteConversation_FullMethodName:      Write,
		edgev1.ConversationService_CreateConversation_FullMethodName:      Write,
		edgev1.ConversationService_UpdateConversation_FullMethodName:      Write,
		edgev1.ConversationService_ListConversationItems_FullMethodName:   Read,
		edgev1.ConversationService_GetConversationItem_FullMethodName:     Read,
		edgev1.ConversationService_CreateConversationItems_FullMethodName: Write,
		edgev1.ConversationService_DeleteConversationItem_FullMethodName:  Write,
		edgev1.ConversationService_PurgeConversations_FullMethodName:      Write,
	}
}
