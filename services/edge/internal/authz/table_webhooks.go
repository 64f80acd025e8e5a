package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// webhookMethods is administration of a tenant: webhooks are told of its budgets.
func webhookMethods() map[string]Method {
	return map[string]Method{
		edgev1.WebhookService_ListWebhooks_FullMethodName:          {Type: "webhook", Action: "list", Tenant: tenant},
		edgev1.WebhookService_GetWebhook_FullMethodName:            {Type: "webhook", Action: "get", ID: id, Tenant: tenant},
		edgev1.WebhookService_SetWebhook_FullMethodName:            {Type: "webhook", Action: "set", ID: id, Tenant: tenant},
		edgev1.WebhookService_DeleteWebhook_FullMethodName:         {Type: "webhook", Action: "delete", ID: id, Tenant: tenant},
		edgev1.WebhookService_TestWebhook_FullMethodName:           {Type: "webhook", Action: "test", ID: id, Tenant: tenant},
		edgev1.WebhookService_ListWebhookDeliveries_FullMethodName: {Type: "webhook", Action: "list-deliveries", ID: id, Tenant: tenant},
		edgev1.WebhookService_RedeliverWebhook_FullMethodName:      {Type: "webhook", Action: "redeliver", ID: id, Tenant: tenant},
	}
}
