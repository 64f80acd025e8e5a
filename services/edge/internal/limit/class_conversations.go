package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func conversationClasses() map[string]Class {
	return map[string]Class{
		edgev1.ConversationService_ListConversations_FullMethodName:  Read,
		edgev1.ConversationService_GetConversation_FullMethodName:    Read,
		edgev1.ConversationService_DeleteConversation_FullMethodName: Write,
		edgev1.ConversationService_PurgeConversations_FullMethodName: Write,
	}
}
