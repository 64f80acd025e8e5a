package authz

// usageMatrix says who may see usage, prices and budgets, and set them.
func usageMatrix(admins, platform string) map[string]string {
	const all = "platform admin, admin, platform approver, another tenant's approver, developer, reader, no role, a role nobody knows"
	return map[string]string{
		"UsageService/GetOwnUsage":  all,
		"UsageService/ListUsage":    admins,
		"UsageService/ExportUsage":  admins,
		"UsageService/CheckUsage":   platform,
		"UsageService/SetPrice":     platform,
		"UsageService/DeletePrice":  platform,
		"UsageService/ListPrices":   platform,
		"UsageService/SetBudget":    admins,
		"UsageService/GetBudget":    admins,
		"UsageService/ListBudgets":  admins,
		"UsageService/DeleteBudget": admins,
	}
}
