package authz

// webhookMatrix says who may see webhooks, and keep them: a tenant's administrators.
func webhookMatrix(admins string) map[string]string {
	return map[string]string{
		"WebhookService/ListWebhooks":          admins,
		"WebhookService/GetWebhook":            admins,
		"WebhookService/SetWebhook":            admins,
		"WebhookService/DeleteWebhook":         admins,
		"WebhookService/TestWebhook":           admins,
		"WebhookService/ListWebhookDeliveries": admins,
		"WebhookService/RedeliverWebhook":      admins,
	}
}
