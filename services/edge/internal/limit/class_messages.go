package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func messageClasses() map[string]Class {
	return map[string]Class{
		edgev1.MessagesService_CreateMessage_FullMethodName:           Generate,
		edgev1.MessagesService_StreamMessage_FullMethodName:           Generate,
		edgev1.MessagesService_CountMessageTokens_FullMethodName:      Read,
		edgev1.ResponsesService_CreateResponse_FullMethodName:         Generate,
		edgev1.ResponsesService_StreamResponse_FullMethodName:         Generate,
		edgev1.ResponsesService_GetResponse_FullMethodName:            Read,
		edgev1.ResponsesService_DeleteResponse_FullMethodName:         Write,
		edgev1.ResponsesService_ListResponseInputItems_FullMethodName: Read,
		edgev1.ResponsesService_CancelResponse_FullMethodName:         Write,

		edgev1.ResponsesService_CountResponseInputTokens_FullMethodName: Read,

		edgev1.ModerationService_CreateModeration_FullMethodName: Read,
	}
}
