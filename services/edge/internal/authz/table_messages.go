package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// messageMethods: a message is a chat in another shape, and needs what a chat needs.
func messageMethods() map[string]Method {
	return map[string]Method{
		edgev1.MessagesService_CreateMessage_FullMethodName:      {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.MessagesService_StreamMessage_FullMethodName:      {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.MessagesService_CountMessageTokens_FullMethodName: {Type: "model", Action: "chat", ID: modelName},

		edgev1.ModerationService_CreateModeration_FullMethodName: {Type: "moderation", Action: "create"},
	}
}
