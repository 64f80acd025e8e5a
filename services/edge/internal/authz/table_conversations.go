package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func conversationMethods() map[string]Method {
	return map[string]Method{
		// Whose they are is the caller: another's are not found.
		edgev1.ConversationService_ListConversations_FullMethodName:       {Type: "conversation", Action: "list"},
		edgev1.ConversationService_GetConversation_FullMethodName:         {Type: "conversation", Action: "get"},
		edgev1.ConversationService_DeleteConversation_FullMethodName:      {Type: "conversation", Action: "delete"},
		edgev1.ConversationService_CreateConversation_FullMethodName:      {Type: "conversation", Action: "create"},
		edgev1.ConversationService_UpdateConversation_FullMethodName:      {Type: "conversation", Action: "update"},
		edgev1.ConversationService_ListConversationItems_FullMethodName:   {Type: "conversation", Action: "get"},
		edgev1.ConversationService_GetConversationItem_FullMethodName:     {Type: "conversation", Action: "get"},
		edgev1.ConversationService_CreateConversationItems_FullMethodName: {Type: "conversation", Action: "update"},
		edgev1.ConversationService_DeleteConversationItem_FullMethodName:  {Type: "conversation", Action: "update"},
		edgev1.ConversationService_PurgeConversations_FullMethodName:      {Type: "conversation", Action: "purge", Tenant: tenant},
	}
}
