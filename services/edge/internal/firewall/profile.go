package firewall

import (
	"strings"

	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// Profile is how much of a request is judged by the rule set. Size, depth and
// encoding are bounded whatever it is.
type Profile string

// The profiles.
const (
	// Full is header, URI and body.
	Full Profile = "full"
	// Prompt is header and URI. The body is text that people or programs wrote,
	// tensors or files, and is not shown to the rule set.
	Prompt Profile = "prompt"
	// None is nothing.
	None Profile = "none"
)

// Of returns the profile of the routes that lead to a method; Full for one that is
// not in the table.
func Of(rpc string) Profile {
	if p, ok := methods()[rpc]; ok {
		return p
	}
	if p, ok := services()[service(rpc)]; ok {
		return p
	}
	return Full
}

// Known reports whether the table has a row for a method.
func Known(rpc string) bool {
	_, method := methods()[rpc]
	_, all := services()[service(rpc)]
	return method || all
}

// service is the service's name in /package.Service/Method.
func service(rpc string) string {
	s, _, _ := strings.Cut(strings.TrimPrefix(rpc, "/"), "/")
	return s
}

// services is the profile of every service whose methods have REST paths.
func services() map[string]Profile {
	return map[string]Profile{
		edgev1.OpenAIService_ServiceDesc.ServiceName:         Prompt,
		edgev1.ResponsesService_ServiceDesc.ServiceName:      Prompt,
		edgev1.MessagesService_ServiceDesc.ServiceName:       Prompt,
		edgev1.ConversationService_ServiceDesc.ServiceName:   Prompt, // items
		edgev1.McpService_ServiceDesc.ServiceName:            Prompt,
		edgev1.ModerationService_ServiceDesc.ServiceName:     Prompt,
		edgev1.FileService_ServiceDesc.ServiceName:           Prompt, // files
		edgev1.BatchService_ServiceDesc.ServiceName:          Prompt, // notes
		edgev1.AdminService_ServiceDesc.ServiceName:          Full,
		edgev1.ServiceAccountService_ServiceDesc.ServiceName: Full,
		edgev1.PolicyService_ServiceDesc.ServiceName:         Full,
		edgev1.AuditService_ServiceDesc.ServiceName:          Full,
		edgev1.AuditContentService_ServiceDesc.ServiceName:   Full,
		edgev1.SessionService_ServiceDesc.ServiceName:        Full,
		edgev1.BanService_ServiceDesc.ServiceName:            Full,
		edgev1.UsageService_ServiceDesc.ServiceName:          Full,
		edgev1.WebhookService_ServiceDesc.ServiceName:        Full,
		edgev1.CacheService_ServiceDesc.ServiceName:          Full,
		edgev1.LimitService_ServiceDesc.ServiceName:          Full,
		edgev1.RequestService_ServiceDesc.ServiceName:        Full,
		edgev1.RouteService_ServiceDesc.ServiceName:          Full,
		edgev1.FeedbackService_ServiceDesc.ServiceName:       Prompt, // comments
		edgev1.MlflowService_ServiceDesc.ServiceName:         Full,
		oip.GRPCInferenceService_ServiceDesc.ServiceName:     Prompt,
		searchv1.SearchService_ServiceDesc.ServiceName:       Full,
		registryv1.RegistryService_ServiceDesc.ServiceName:   Full,
		registryv1.ArtifactService_ServiceDesc.ServiceName:   Full,
	}
}

// methods is the exceptions: bodies that are documents, prompts, or bytes without
// an end.
func methods() map[string]Profile {
	return map[string]Profile{
		edgev1.AdminService_QuantizeModel_FullMethodName: Prompt, // calibration texts

		// Findings of scanners, up to a thousand, and notes of checkpoints, whose
		// base64 looks like commands; both may be longer than what is judged.
		edgev1.AdminService_CheckLeakedApiKeys_FullMethodName: Prompt,
		edgev1.AuditService_VerifyAudit_FullMethodName:        Prompt,

		// Conditions are expressions, which look like attacks on a database.
		edgev1.PolicyService_CreatePolicyVersion_FullMethodName: Prompt,
		edgev1.PolicyService_TestPolicy_FullMethodName:          Prompt,
		edgev1.PolicyService_ExplainPolicy_FullMethodName:       Prompt,

		searchv1.SearchService_BatchUpsertDocuments_FullMethodName: Prompt,
		searchv1.SearchService_ImportDocuments_FullMethodName:      Prompt,
		searchv1.SearchService_RestoreCollection_FullMethodName:    Prompt,

		registryv1.RegistryService_CreatePromptVersion_FullMethodName: Prompt,
		registryv1.RegistryService_RenderPrompt_FullMethodName:        Prompt,
		registryv1.RegistryService_ImportModels_FullMethodName:        Prompt, // prompts are among it
		registryv1.RegistryService_ImportArchive_FullMethodName:       Prompt,
		registryv1.RegistryService_ReportOutcomes_FullMethodName:      Prompt, // thousands of numbers
		registryv1.ArtifactService_AppendUpload_FullMethodName:        Prompt,
	}
}
