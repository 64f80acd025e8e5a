package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// keyMethods: whose key or account it is, is for the handlers to ask, which say of
// another tenant's that it does not exist.
func keyMethods() map[string]Method {
	return map[string]Method{
		edgev1.AdminService_UpdateApiKey_FullMethodName:       {Type: "api-key", Action: "update", ID: id},
		edgev1.AdminService_RotateApiKey_FullMethodName:       {Type: "api-key", Action: "rotate", ID: id},
		edgev1.AdminService_CheckLeakedApiKeys_FullMethodName: {Type: "api-key", Action: "check-leaked"},

		edgev1.ServiceAccountService_CreateServiceAccount_FullMethodName:  {Type: "service-account", Action: "create"},
		edgev1.ServiceAccountService_GetServiceAccount_FullMethodName:     {Type: "service-account", Action: "get", ID: id},
		edgev1.ServiceAccountService_ListServiceAccounts_FullMethodName:   {Type: "service-account", Action: "list"},
		edgev1.ServiceAccountService_UpdateServiceAccount_FullMethodName:  {Type: "service-account", Action: "update", ID: id},
		edgev1.ServiceAccountService_DisableServiceAccount_FullMethodName: {Type: "service-account", Action: "disable", ID: id},
		edgev1.ServiceAccountService_EnableServiceAccount_FullMethodName:  {Type: "service-account", Action: "enable", ID: id},
		edgev1.ServiceAccountService_DeleteServiceAccount_FullMethodName:  {Type: "service-account", Action: "delete", ID: id},
	}
}
