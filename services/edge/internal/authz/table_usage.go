package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

func usageMethods() map[string]Method {
	return map[string]Method{
		// Whose own it is is the caller, who needs no role for that.
		edgev1.UsageService_GetOwnUsage_FullMethodName: {Type: "usage", Action: "get-own"},

		edgev1.UsageService_ListUsage_FullMethodName:   {Type: "usage", Action: "list", Tenant: tenant},
		edgev1.UsageService_ExportUsage_FullMethodName: {Type: "usage", Action: "list", Tenant: tenant},
		edgev1.UsageService_CheckUsage_FullMethodName:  {Type: "usage", Action: "check", Platform: true},

		// What models cost is the same for all.
		edgev1.UsageService_SetPrice_FullMethodName:    {Type: "price", Action: "set", Platform: true},
		edgev1.UsageService_DeletePrice_FullMethodName: {Type: "price", Action: "delete", Platform: true},
		edgev1.UsageService_ListPrices_FullMethodName:  {Type: "price", Action: "list", Platform: true},

		edgev1.UsageService_SetBudget_FullMethodName:    {Type: "budget", Action: "set", Tenant: tenant},
		edgev1.UsageService_GetBudget_FullMethodName:    {Type: "budget", Action: "get", ID: id, Tenant: tenant},
		edgev1.UsageService_ListBudgets_FullMethodName:  {Type: "budget", Action: "list", Tenant: tenant},
		edgev1.UsageService_DeleteBudget_FullMethodName: {Type: "budget", Action: "delete", ID: id, Tenant: tenant},
	}
}
