package authz

// webhookMethods says who may see what was done to every tenant's models, and where
// it is told to. What digest a specification has is for whoever may see versions.
func webhookMethods(platform, developer string) map[string]string {
	out := map[string]string{"RegistryService/ResolveVersion": developer}
	for _, method := range []string{
		"ListChanges", "CreateWebhook", "GetWebhook", "ListWebhooks", "UpdateWebhook", "DeleteWebhook", "ListDeliveries", "Redeliver",
	} {
		out["RegistryService/"+method] = platform
	}
	return out
}
