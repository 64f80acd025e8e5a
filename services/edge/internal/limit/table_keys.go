package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// keyTable is the part of Table about keys and service accounts.
func keyTable() map[string]Class {
	return map[string]Class{
		edgev1.AdminService_UpdateApiKey_FullMethodName:                   Write,
		edgev1.AdminService_RotateApiKey_FullMethodName:                   Write,
		edgev1.AdminService_CheckLeakedApiKeys_FullMethodName:             Write,
		edgev1.ServiceAccountService_CreateServiceAccount_FullMethodName:  Write,
		edgev1.ServiceAccountService_GetServiceAccount_FullMethodName:     Read,
		edgev1.ServiceAccountService_ListServiceAccounts_FullMethodName:   Read,
		edgev1.ServiceAccountService_UpdateServiceAccount_FullMethodName:  Write,
		edgev1.ServiceAccountService_DisableServiceAccount_FullMethodName: Write,
		edgev1.ServiceAccountService_EnableServiceAccount_FullMethodName:  Write,
		edgev1.ServiceAccountService_DeleteServiceAccount_FullMethodName:  Write,
	}
}
