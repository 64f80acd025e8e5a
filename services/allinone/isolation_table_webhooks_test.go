package allinone

// webhookRequests are those about webhooks.
func webhookRequests() map[string]request {
	const hook = `"webhook":{"url":"https://example.com/"}`
	return map[string]request{
		"WebhookService/ListWebhooks":             {nothing: listsOwn},
		"WebhookService/ListWebhooks+tenant":      {json: `{"tenant":"{tenant}"}`, reads: true, tells: true},
		"WebhookService/GetWebhook":               {json: `{"id":"{webhook}"}`, tells: true},
		"WebhookService/GetWebhook+of":            {json: `{"id":"{webhook}","tenant":"{tenant}"}`, reads: true, tells: true},
		"WebhookService/SetWebhook":               {json: `{"id":"{webhook}",` + hook + `}`, makes: true},
		"WebhookService/SetWebhook+of":            {json: `{"id":"{webhook}",` + hook + `,"tenant":"{tenant}"}`},
		"WebhookService/DeleteWebhook":            {json: `{"id":"{webhook}"}`},
		"WebhookService/DeleteWebhook+of":         {json: `{"id":"{webhook}","tenant":"{tenant}"}`},
		"WebhookService/TestWebhook":              {json: `{"id":"{webhook}"}`},
		"WebhookService/TestWebhook+of":           {json: `{"id":"{webhook}","tenant":"{tenant}"}`},
		"WebhookService/ListWebhookDeliveries":    {json: `{"id":"{webhook}"}`},
		"WebhookService/ListWebhookDeliveries+of": {json: `{"id":"{webhook}","tenant":"{tenant}"}`},
		"WebhookService/RedeliverWebhook":         {json: `{"id":"{webhook}","event":"evt_1"}`},
		"WebhookService/RedeliverWebhook+of":      {json: `{"id":"{webhook}","event":"evt_1","tenant":"{tenant}"}`},
	}
}
