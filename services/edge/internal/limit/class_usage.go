package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// usageClasses are those of UsageService. Reading a whole ledger may take as long as
// a write may.
func usageClasses() map[string]Class {
	return map[string]Class{
		edgev1.UsageService_GetOwnUsage_FullMethodName:  Read,
		edgev1.UsageService_ListUsage_FullMethodName:    Read,
		edgev1.UsageService_ExportUsage_FullMethodName:  Write,
		edgev1.UsageService_CheckUsage_FullMethodName:   Write,
		edgev1.UsageService_SetPrice_FullMethodName:     Write,
		edgev1.UsageService_DeletePrice_FullMethodName:  Write,
		edgev1.UsageService_ListPrices_FullMethodName:   Read,
		edgev1.UsageService_SetBudget_FullMethodName:    Write,
		edgev1.UsageService_GetBudget_FullMethodName:    Read,
		edgev1.UsageService_ListBudgets_FullMethodName:  Read,
		edgev1.UsageService_DeleteBudget_FullMethodName: Write,
	}
}
