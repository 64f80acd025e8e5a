package allinone

// usageRequests are those about usage, prices and budgets.
func usageRequests() map[string]request {
	const (
		counted = `"scope":"team","scope_name":"mine","period":"month","unit":"tokens","amount":1`
		ledger  = "the ledger is one, of all tenants, and is added up as one"
		prices  = "what models cost is the same for all, and the platform's"
	)
	return map[string]request{
		"UsageService/GetOwnUsage":        {nothing: ownOne},
		"UsageService/ListUsage":          {nothing: listsOwn},
		"UsageService/ListUsage+tenant":   {json: `{"tenant":"{tenant}","group_by":["key","model"]}`, reads: true},
		"UsageService/ListUsage+key":      {json: `{"key_id":"{key}"}`, reads: true},
		"UsageService/ListUsage+model":    {json: `{"model":"{model}"}`, reads: true},
		"UsageService/ListUsage+subject":  {json: `{"subject":"{subject}"}`, reads: true},
		"UsageService/ExportUsage":        {json: `{"usage":{}}`, nothing: listsOwn},
		"UsageService/ExportUsage+tenant": {json: `{"usage":{"group_by":["key"]},"tenant":"{tenant}"}`, reads: true},
		"UsageService/CheckUsage":         {nothing: ledger, platform: true},
		"UsageService/SetPrice":           {json: `{"price":{"model":"mine","rates":{"input":1}}}`, nothing: prices, platform: true},
		"UsageService/ListPrices":         {nothing: prices, platform: true},
		"UsageService/DeletePrice":        {json: `{"revision":"1"}`, nothing: prices, platform: true},
		"UsageService/SetBudget":          {json: `{"budget":{"id":"{budget}",` + counted + `}}`, makes: true},
		"UsageService/SetBudget+of":       {json: `{"budget":{"id":"{budget}",` + counted + `},"tenant":"{tenant}"}`},
		"UsageService/GetBudget":          {json: `{"id":"{budget}"}`, tells: true},
		"UsageService/GetBudget+of":       {json: `{"id":"{budget}","tenant":"{tenant}"}`, reads: true, tells: true},
		"UsageService/ListBudgets":        {nothing: listsOwn},
		"UsageService/ListBudgets+tenant": {json: `{"tenant":"{tenant}"}`, reads: true, tells: true},
		"UsageService/DeleteBudget":       {json: `{"id":"{budget}"}`},
		"UsageService/DeleteBudget+of":    {json: `{"id":"{budget}","tenant":"{tenant}"}`},
	}
}
