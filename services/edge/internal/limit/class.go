package limit

import (
	"maps"

	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha" // older clients still ask it

	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// Class is a kind of request: it decides what a request costs its caller and
// how long it may take.
type Class string

// The classes.
const (
	// Free requests cost nothing: they ask about the gateway itself.
	Free Class = "free"
	// Read requests look something up.
	Read Class = "read"
	// Write requests change something, and may embed many documents.
	Write Class = "write"
	// Search requests rank documents.
	Search Class = "search"
	// Embed requests run an embedding model, or one that scores documents.
	Embed Class = "embed"
	// Generate requests run a chat model.
	Generate Class = "generate"
	// Infer requests run a model on tensors.
	Infer Class = "infer"
)

// Classes returns every class.
func Classes() []Class { return []Class{Free, Read, Write, Search, Embed, Generate, Infer} }

// Cost is what a request of this class takes from its key's requests per minute.
func (c Class) Cost() int {
	if c == Free {
		return 0
	}
	return 1
}

// Table is the class of every method that the edge serves. A method that is
// missing is refused, and a test fails.
func Table() map[string]Class {
	t := serviceTable()
	maps.Copy(t, keyTable())
	maps.Copy(t, policyClasses())
	maps.Copy(t, auditClasses())
	maps.Copy(t, sessionClasses())
	maps.Copy(t, conversationClasses())
	maps.Copy(t, cacheClasses())
	maps.Copy(t, messageClasses())
	maps.Copy(t, auditContentClasses())
	maps.Copy(t, usageClasses())
	maps.Copy(t, limitClasses())
	maps.Copy(t, requestClasses())
	maps.Copy(t, batchClasses())
	maps.Copy(t, routeClasses())
	maps.Copy(t, webhookClasses())
	maps.Copy(t, mcpClasses())
	return t
}

func serviceTable() map[string]Class {
	return map[string]Class{
		edgev1.OpenAIService_CreateChatCompletion_FullMethodName: Generate,
		edgev1.OpenAIService_StreamChatCompletion_FullMethodName: Generate,
		edgev1.OpenAIService_CreateCompletion_FullMethodName:     Generate,
		edgev1.OpenAIService_StreamCompletion_FullMethodName:     Generate,
		edgev1.OpenAIService_CreateEmbedding_FullMethodName:      Embed,
		edgev1.OpenAIService_Rerank_FullMethodName:               Embed,
		edgev1.OpenAIService_CountTokens_FullMethodName:          Read,
		edgev1.OpenAIService_ListModels_FullMethodName:           Read,
		edgev1.OpenAIService_GetModel_FullMethodName:             Read,

		oip.GRPCInferenceService_ServerLive_FullMethodName:            Free,
		oip.GRPCInferenceService_ServerReady_FullMethodName:           Free,
		oip.GRPCInferenceService_ServerMetadata_FullMethodName:        Read,
		oip.GRPCInferenceService_ModelReady_FullMethodName:            Read,
		oip.GRPCInferenceService_ModelMetadata_FullMethodName:         Read,
		oip.GRPCInferenceService_ModelInfer_FullMethodName:            Infer,
		oip.GRPCInferenceService_ModelStreamInfer_FullMethodName:      Infer,
		oip.GRPCInferenceService_RepositoryIndex_FullMethodName:       Read,
		oip.GRPCInferenceService_RepositoryModelLoad_FullMethodName:   Write,
		oip.GRPCInferenceService_RepositoryModelUnload_FullMethodName: Write,

		edgev1.AdminService_CreateApiKey_FullMethodName:     Write,
		edgev1.AdminService_GetApiKey_FullMethodName:        Read,
		edgev1.AdminService_ListApiKeys_FullMethodName:      Read,
		edgev1.AdminService_RevokeApiKey_FullMethodName:     Write,
		edgev1.AdminService_ListAuditRecords_FullMethodName: Read,
		edgev1.AdminService_ListWorkers_FullMethodName:      Read,
		edgev1.AdminService_QuantizeModel_FullMethodName:    Write,
		edgev1.AdminService_LiftQuarantine_FullMethodName:   Write,
		edgev1.BanService_CreateBan_FullMethodName:          Write,
		edgev1.BanService_ListBans_FullMethodName:           Read,
		edgev1.BanService_LiftBan_FullMethodName:            Write,

		searchv1.SearchService_CreateCollection_FullMethodName:     Write,
		searchv1.SearchService_GetCollection_FullMethodName:        Read,
		searchv1.SearchService_ListCollections_FullMethodName:      Read,
		searchv1.SearchService_DeleteCollection_FullMethodName:     Write,
		searchv1.SearchService_BatchUpsertDocuments_FullMethodName: Write,
		searchv1.SearchService_ImportDocuments_FullMethodName:      Write,
		searchv1.SearchService_BackupCollection_FullMethodName:     Write, // as long as a write may take
		searchv1.SearchService_RestoreCollection_FullMethodName:    Write,
		searchv1.SearchService_GetDocument_FullMethodName:          Read,
		searchv1.SearchService_ListDocuments_FullMethodName:        Read,
		searchv1.SearchService_DeleteDocument_FullMethodName:       Write,
		searchv1.SearchService_Search_FullMethodName:               Search,

		searchv1.SearchService_CreateEmbeddingGeneration_FullMethodName:   Write,
		searchv1.SearchService_GetEmbeddingGeneration_FullMethodName:      Read,
		searchv1.SearchService_ListEmbeddingGenerations_FullMethodName:    Read,
		searchv1.SearchService_ServeEmbeddingGeneration_FullMethodName:    Write,
		searchv1.SearchService_RollbackEmbeddingGeneration_FullMethodName: Write,
		searchv1.SearchService_DeleteEmbeddingGeneration_FullMethodName:   Write,

		registryv1.RegistryService_CreateModel_FullMethodName:       Write,
		registryv1.RegistryService_GetModel_FullMethodName:          Read,
		registryv1.RegistryService_ListModels_FullMethodName:        Read,
		registryv1.RegistryService_UpdateModel_FullMethodName:       Write,
		registryv1.RegistryService_UndeleteModel_FullMethodName:     Write,
		registryv1.RegistryService_UpdateVersion_FullMethodName:     Write,
		registryv1.RegistryService_DeleteVersion_FullMethodName:     Write,
		registryv1.RegistryService_UndeleteVersion_FullMethodName:   Write,
		registryv1.RegistryService_SignVersion_FullMethodName:       Write,
		registryv1.RegistryService_DeleteModel_FullMethodName:       Write,
		registryv1.RegistryService_CreateVersion_FullMethodName:     Write,
		registryv1.RegistryService_GetVersion_FullMethodName:        Read,
		registryv1.RegistryService_ListVersions_FullMethodName:      Read,
		registryv1.RegistryService_CreateVariant_FullMethodName:     Write,
		registryv1.RegistryService_GetVariant_FullMethodName:        Read,
		registryv1.RegistryService_ListVariants_FullMethodName:      Read,
		registryv1.RegistryService_DeleteVariant_FullMethodName:     Write,
		registryv1.RegistryService_SetAlias_FullMethodName:          Write,
		registryv1.RegistryService_GetAlias_FullMethodName:          Read,
		registryv1.RegistryService_ListAliases_FullMethodName:       Read,
		registryv1.RegistryService_DeleteAlias_FullMethodName:       Write,
		registryv1.RegistryService_SetSplit_FullMethodName:          Write,
		registryv1.RegistryService_GetSplit_FullMethodName:          Read,
		registryv1.RegistryService_DeleteSplit_FullMethodName:       Write,
		registryv1.RegistryService_Watch_FullMethodName:             Read,
		registryv1.RegistryService_CreateRollout_FullMethodName:     Write,
		registryv1.RegistryService_GetRollout_FullMethodName:        Read,
		registryv1.RegistryService_ListRollouts_FullMethodName:      Read,
		registryv1.RegistryService_ListRolloutEvents_FullMethodName: Read,
		registryv1.RegistryService_PauseRollout_FullMethodName:      Write,
		registryv1.RegistryService_ResumeRollout_FullMethodName:     Write,
		registryv1.RegistryService_ForceRollout_FullMethodName:      Write,
		registryv1.RegistryService_AbortRollout_FullMethodName:      Write,

		registryv1.RegistryService_CreateExperiment_FullMethodName:   Write,
		registryv1.RegistryService_GetExperiment_FullMethodName:      Read,
		registryv1.RegistryService_ListExperiments_FullMethodName:    Read,
		registryv1.RegistryService_UpdateExperiment_FullMethodName:   Write,
		registryv1.RegistryService_DeleteExperiment_FullMethodName:   Write,
		registryv1.RegistryService_StartExperiment_FullMethodName:    Write,
		registryv1.RegistryService_RampExperiment_FullMethodName:     Write,
		registryv1.RegistryService_StopExperiment_FullMethodName:     Write,
		registryv1.RegistryService_ConcludeExperiment_FullMethodName: Write,

		registryv1.RegistryService_GetResults_FullMethodName:           Read,
		registryv1.RegistryService_GetExperimentResults_FullMethodName: Read,
		registryv1.RegistryService_ListFeedback_FullMethodName:         Read,
		registryv1.RegistryService_ReportOutcomes_FullMethodName:       Write,
		registryv1.RegistryService_RecordFeedback_FullMethodName:       Write,
		edgev1.FeedbackService_CreateFeedback_FullMethodName:           Write,

		registryv1.RegistryService_ListChanges_FullMethodName:    Read,
		registryv1.RegistryService_ResolveVersion_FullMethodName: Read,
		registryv1.RegistryService_CreateWebhook_FullMethodName:  Write,
		registryv1.RegistryService_GetWebhook_FullMethodName:     Read,
		registryv1.RegistryService_ListWebhooks_FullMethodName:   Read,
		registryv1.RegistryService_UpdateWebhook_FullMethodName:  Write,
		registryv1.RegistryService_DeleteWebhook_FullMethodName:  Write,
		registryv1.RegistryService_ListDeliveries_FullMethodName: Read,
		registryv1.RegistryService_Redeliver_FullMethodName:      Write,

		registryv1.RegistryService_ListAliasHistory_FullMethodName:   Read,
		registryv1.RegistryService_RollbackAlias_FullMethodName:      Write,
		registryv1.RegistryService_GetAliasChange_FullMethodName:     Read,
		registryv1.RegistryService_ListAliasChanges_FullMethodName:   Read,
		registryv1.RegistryService_ApproveAliasChange_FullMethodName: Write,
		registryv1.RegistryService_RejectAliasChange_FullMethodName:  Write,
		registryv1.RegistryService_GetAliasProtection_FullMethodName: Read,
		registryv1.RegistryService_SetAliasProtection_FullMethodName: Write,
		registryv1.RegistryService_ListSplitHistory_FullMethodName:   Read,
		registryv1.RegistryService_RollbackSplit_FullMethodName:      Write,

		registryv1.RegistryService_CreatePromptVersion_FullMethodName:    Write,
		registryv1.RegistryService_GetPrompt_FullMethodName:              Read,
		registryv1.RegistryService_GetPromptVersion_FullMethodName:       Read,
		registryv1.RegistryService_ListPromptVersions_FullMethodName:     Read,
		registryv1.RegistryService_ListPrompts_FullMethodName:            Read,
		registryv1.RegistryService_SetPromptAlias_FullMethodName:         Write,
		registryv1.RegistryService_DeletePromptAlias_FullMethodName:      Write,
		registryv1.RegistryService_ListPromptAliasHistory_FullMethodName: Read,
		registryv1.RegistryService_RollbackPromptAlias_FullMethodName:    Write,
		registryv1.RegistryService_RenderPrompt_FullMethodName:           Read,

		registryv1.ArtifactService_CreateUpload_FullMethodName:     Write,
		registryv1.ArtifactService_AppendUpload_FullMethodName:     Write,
		registryv1.ArtifactService_GetUpload_FullMethodName:        Read,
		registryv1.ArtifactService_ListUploads_FullMethodName:      Read,
		registryv1.ArtifactService_ListUploadParts_FullMethodName:  Read,
		registryv1.ArtifactService_CompleteUpload_FullMethodName:   Write,
		registryv1.ArtifactService_DeleteUpload_FullMethodName:     Write,
		registryv1.ArtifactService_GetArtifact_FullMethodName:      Read,
		registryv1.ArtifactService_ListArtifacts_FullMethodName:    Read,
		registryv1.ArtifactService_DeleteArtifact_FullMethodName:   Write,
		registryv1.ArtifactService_CollectArtifacts_FullMethodName: Write,
		registryv1.ArtifactService_ReadArtifact_FullMethodName:     Read,

		registryv1.RegistryService_InspectSource_FullMethodName: Write,
		registryv1.RegistryService_ExportModels_FullMethodName:  Read,
		registryv1.RegistryService_ImportModels_FullMethodName:  Write,
		registryv1.RegistryService_ExportArchive_FullMethodName: Read,
		registryv1.RegistryService_ImportArchive_FullMethodName: Write,

		edgev1.MlflowService_CreateRegisteredModel_FullMethodName:       Write,
		edgev1.MlflowService_GetRegisteredModel_FullMethodName:          Read,
		edgev1.MlflowService_SearchRegisteredModels_FullMethodName:      Read,
		edgev1.MlflowService_UpdateRegisteredModel_FullMethodName:       Write,
		edgev1.MlflowService_DeleteRegisteredModel_FullMethodName:       Write,
		edgev1.MlflowService_GetLatestVersions_FullMethodName:           Read,
		edgev1.MlflowService_SetRegisteredModelTag_FullMethodName:       Write,
		edgev1.MlflowService_DeleteRegisteredModelTag_FullMethodName:    Write,
		edgev1.MlflowService_SetRegisteredModelAlias_FullMethodName:     Write,
		edgev1.MlflowService_DeleteRegisteredModelAlias_FullMethodName:  Write,
		edgev1.MlflowService_GetModelVersionByAlias_FullMethodName:      Read,
		edgev1.MlflowService_CreateModelVersion_FullMethodName:          Write,
		edgev1.MlflowService_GetModelVersion_FullMethodName:             Read,
		edgev1.MlflowService_SearchModelVersions_FullMethodName:         Read,
		edgev1.MlflowService_UpdateModelVersion_FullMethodName:          Write,
		edgev1.MlflowService_DeleteModelVersion_FullMethodName:          Write,
		edgev1.MlflowService_SetModelVersionTag_FullMethodName:          Write,
		edgev1.MlflowService_DeleteModelVersionTag_FullMethodName:       Write,
		edgev1.MlflowService_GetModelVersionDownloadUri_FullMethodName:  Read,
		edgev1.MlflowService_TransitionModelVersionStage_FullMethodName: Write,

		grpc_health_v1.Health_Check_FullMethodName:                             Free,
		grpc_health_v1.Health_Watch_FullMethodName:                             Free,
		grpc_health_v1.Health_List_FullMethodName:                              Free,
		reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      Free,
		reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: Free,
	}
}
