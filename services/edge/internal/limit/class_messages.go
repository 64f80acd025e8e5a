package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func messageClasses() map[string]Class {
	return map[string]Class{
		edgev1.MessagesService_CreateMessage_FullMethodName:      Generate,
		edgev1.MessagesService_StreamMessage_FullMethodName:      Generate,
		edgev1.MessagesService_CountMessageTokens_FullMethodName: Read,
		edgev1.ModerationService_CreateModeration_FullMethodName: Read,
	}
}
