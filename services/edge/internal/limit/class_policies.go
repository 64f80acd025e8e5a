package limit

import edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"

// policyClasses: what compiles policies, or asks them much, costs what a change costs.
func policyClasses() map[string]Class {
	return map[string]Class{
		edgev1.PolicyService_GetPolicy_FullMethodName:           Read,
		edgev1.PolicyService_CreatePolicyVersion_FullMethodName: Write,
		edgev1.PolicyService_ListPolicyVersions_FullMethodName:  Read,
		edgev1.PolicyService_GetPolicyVersion_FullMethodName:    Read,
		edgev1.PolicyService_ActivatePolicy_FullMethodName:      Write,
		edgev1.PolicyService_DeactivatePolicy_FullMethodName:    Write,
		edgev1.PolicyService_RollbackPolicy_FullMethodName:      Write,
		edgev1.PolicyService_DiffPolicy_FullMethodName:          Read,
		edgev1.PolicyService_TestPolicy_FullMethodName:          Write,
		edgev1.PolicyService_ExplainPolicy_FullMethodName:       Write,
		edgev1.PolicyService_StartPolicyDryRun_FullMethodName:   Write,
		edgev1.PolicyService_GetPolicyDryRun_FullMethodName:     Read,
	}
}
