package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// webhookClasses are those of WebhookService. A test calls somebody, and so costs what
// a change does.
func webhookClasses() map[string]Class {
	return map[string]Class{
		edgev1.WebhookService_ListWebhooks_FullMethodName:          Read,
		edgev1.WebhookService_GetWebhook_FullMethodName:            Read,
		edgev1.WebhookService_SetWebhook_FullMethodName:            Write,
		edgev1.WebhookService_DeleteWebhook_FullMethodName:         Write,
		edgev1.WebhookService_TestWebhook_FullMethodName:           Write,
		edgev1.WebhookService_ListWebhookDeliveries_FullMethodName: Read,
		edgev1.WebhookService_RedeliverWebhook_FullMethodName:      Write,
	}
}
