package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// messageMethods: messages and responses are chats in other shapes, and need what a
// chat needs.
func messageMethods() map[string]Method {
	return map[string]Method{
		edgev1.MessagesService_CreateMessage_FullMethodName:      {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.MessagesService_StreamMessage_FullMethodName:      {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.MessagesService_CountMessageTokens_FullMethodName: {Type: "model", Action: "chat", ID: modelName},

		// Whose a kept response is is in its id.
		edgev1.ResponsesService_CreateResponse_FullMethodName:         {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.ResponsesService_StreamResponse_FullMethodName:         {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.ResponsesService_GetResponse_FullMethodName:            {Type: "response", Action: "get"},
		edgev1.ResponsesService_DeleteResponse_FullMethodName:         {Type: "response", Action: "delete"},
		edgev1.ResponsesService_ListResponseInputItems_FullMethodName: {Type: "response", Action: "get"},
		edgev1.ResponsesService_CancelResponse_FullMethodName:         {Type: "response", Action: "delete"},

		edgev1.ResponsesService_CountResponseInputTokens_FullMethodName: {Type: "model", Action: "chat", ID: modelName},

		edgev1.ModerationService_CreateModeration_FullMethodName: {Type: "moderation", Action: "create"},
	}
}
