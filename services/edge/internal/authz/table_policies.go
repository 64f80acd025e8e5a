package authz

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// policyMethods: a policy is its tenant's. Reading one tells who may do what.
func policyMethods() map[string]Method {
	return map[string]Method{
		edgev1.PolicyService_GetPolicy_FullMethodName:           {Type: "policy", Action: "get", Tenant: tenant},
		edgev1.PolicyService_CreatePolicyVersion_FullMethodName: {Type: "policy", Action: "create", Tenant: tenant},
		edgev1.PolicyService_ListPolicyVersions_FullMethodName:  {Type: "policy", Action: "list", Tenant: tenant},
		edgev1.PolicyService_GetPolicyVersion_FullMethodName:    {Type: "policy", Action: "get", Tenant: tenant},
		edgev1.PolicyService_ActivatePolicy_FullMethodName:      {Type: "policy", Action: "activate", Tenant: tenant},
		edgev1.PolicyService_DeactivatePolicy_FullMethodName:    {Type: "policy", Action: "activate", Tenant: tenant},
		edgev1.PolicyService_RollbackPolicy_FullMethodName:      {Type: "policy", Action: "activate", Tenant: tenant},
		edgev1.PolicyService_DiffPolicy_FullMethodName:          {Type: "policy", Action: "get", Tenant: tenant},
		edgev1.PolicyService_TestPolicy_FullMethodName:          {Type: "policy", Action: "test", Tenant: tenant},
		edgev1.PolicyService_ExplainPolicy_FullMethodName:       {Type: "policy", Action: "test", Tenant: tenant},
		edgev1.PolicyService_StartPolicyDryRun_FullMethodName:   {Type: "policy", Action: "try", Tenant: tenant},
		edgev1.PolicyService_GetPolicyDryRun_FullMethodName:     {Type: "policy", Action: "get", Tenant: tenant},
	}
}
