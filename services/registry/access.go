package registry

import (
	"github.com/poterne/poterne/pkg/assertion"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The names in discovery of services that call for themselves.
const (
	inferenceName = "poterne-inference"
	edgeName      = "poterne-edge"
	workerName    = "poterne-worker"
)

// identityEnds: the registry is called, and calls none of our services.
func identityEnds() assertion.Ends { return assertion.Ends{Receives: true} }

// access is who may call each method. Models are seen by the tenant that has them
// and by the platform's, or by all (server.Tenants); prompts, uploads and artifacts
// are the platform's, which lets others have them by its policy; webhooks and
// archives tell of every tenant's models.
func access() assertion.Table {
	models := assertion.Access{Callers: true, Tenant: assertion.Models}
	shared := assertion.Access{Callers: true, Tenant: assertion.Shared}
	platform := assertion.Access{Callers: true, Tenant: assertion.Platform}
	inference := assertion.Access{Services: []string{inferenceName}, Tenant: assertion.None}
	watchers := assertion.Access{Services: []string{inferenceName, edgeName}, Tenant: assertion.None}
	worker := assertion.Access{Services: []string{workerName}, Tenant: assertion.None}
	return assertion.Table{
		registryv1.RegistryService_CreateModel_FullMethodName:            models,
		registryv1.RegistryService_GetModel_FullMethodName:               models,
		registryv1.RegistryService_ListModels_FullMethodName:             models,
		registryv1.RegistryService_UpdateModel_FullMethodName:            models,
		registryv1.RegistryService_DeleteModel_FullMethodName:            models,
		registryv1.RegistryService_UndeleteModel_FullMethodName:          models,
		registryv1.RegistryService_CreateVersion_FullMethodName:          models,
		registryv1.RegistryService_GetVersion_FullMethodName:             models,
		registryv1.RegistryService_ListVersions_FullMethodName:           models,
		registryv1.RegistryService_UpdateVersion_FullMethodName:          models,
		registryv1.RegistryService_DeleteVersion_FullMethodName:          models,
		registryv1.RegistryService_UndeleteVersion_FullMethodName:        models,
		registryv1.RegistryService_SignVersion_FullMethodName:            models,
		registryv1.RegistryService_InspectSource_FullMethodName:          shared,
		registryv1.RegistryService_ExportModels_FullMethodName:           platform,
		registryv1.RegistryService_ImportModels_FullMethodName:           platform,
		registryv1.RegistryService_ExportArchive_FullMethodName:          platform,
		registryv1.RegistryService_ImportArchive_FullMethodName:          platform,
		registryv1.RegistryService_CreateVariant_FullMethodName:          models,
		registryv1.RegistryService_GetVariant_FullMethodName:             models,
		registryv1.RegistryService_ListVariants_FullMethodName:           models,
		registryv1.RegistryService_DeleteVariant_FullMethodName:          models,
		registryv1.RegistryService_SetAlias_FullMethodName:               models,
		registryv1.RegistryService_GetAlias_FullMethodName:               models,
		registryv1.RegistryService_ListAliases_FullMethodName:            models,
		registryv1.RegistryService_DeleteAlias_FullMethodName:            models,
		registryv1.RegistryService_ListAliasHistory_FullMethodName:       models,
		registryv1.RegistryService_RollbackAlias_FullMethodName:          models,
		registryv1.RegistryService_GetAliasChange_FullMethodName:         models,
		registryv1.RegistryService_ListAliasChanges_FullMethodName:       models,
		registryv1.RegistryService_ApproveAliasChange_FullMethodName:     models,
		registryv1.RegistryService_RejectAliasChange_FullMethodName:      models,
		registryv1.RegistryService_GetAliasProtection_FullMethodName:     models,
		registryv1.RegistryService_SetAliasProtection_FullMethodName:     models,
		registryv1.RegistryService_SetSplit_FullMethodName:               models,
		registryv1.RegistryService_GetSplit_FullMethodName:               models,
		registryv1.RegistryService_DeleteSplit_FullMethodName:            models,
		registryv1.RegistryService_CreateExperiment_FullMethodName:       models,
		registryv1.RegistryService_GetExperiment_FullMethodName:          models,
		registryv1.RegistryService_ListExperiments_FullMethodName:        models,
		registryv1.RegistryService_UpdateExperiment_FullMethodName:       models,
		registryv1.RegistryService_DeleteExperiment_FullMethodName:       models,
		registryv1.RegistryService_StartExperiment_FullMethodName:        models,
		registryv1.RegistryService_RampExperiment_FullMethodName:         models,
		registryv1.RegistryService_StopExperiment_FullMethodName:         models,
		registryv1.RegistryService_ConcludeExperiment_FullMethodName:     models,
		registryv1.RegistryService_ListSplitHistory_FullMethodName:       models,
		registryv1.RegistryService_RollbackSplit_FullMethodName:          models,
		registryv1.RegistryService_CreatePromptVersion_FullMethodName:    shared,
		registryv1.RegistryService_GetPromptVersion_FullMethodName:       shared,
		registryv1.RegistryService_ListPromptVersions_FullMethodName:     shared,
		registryv1.RegistryService_GetPrompt_FullMethodName:              shared,
		registryv1.RegistryService_ListPrompts_FullMethodName:            shared,
		registryv1.RegistryService_SetPromptAlias_FullMethodName:         shared,
		registryv1.RegistryService_DeletePromptAlias_FullMethodName:      shared,
		registryv1.RegistryService_ListPromptAliasHistory_FullMethodName: shared,
		registryv1.RegistryService_RollbackPromptAlias_FullMethodName:    shared,
		registryv1.RegistryService_RenderPrompt_FullMethodName:           shared,
		registryv1.RegistryService_CreateRollout_FullMethodName:          models,
		registryv1.RegistryService_GetRollout_FullMethodName:             models,
		registryv1.RegistryService_ListRollouts_FullMethodName:           models,
		registryv1.RegistryService_ListRolloutEvents_FullMethodName:      models,
		registryv1.RegistryService_PauseRollout_FullMethodName:           models,
		registryv1.RegistryService_ResumeRollout_FullMethodName:          models,
		registryv1.RegistryService_ForceRollout_FullMethodName:           models,
		registryv1.RegistryService_AbortRollout_FullMethodName:           models,
		registryv1.RegistryService_Watch_FullMethodName:                  watchers,
		registryv1.RegistryService_ReportOutcomes_FullMethodName:         inference,
		registryv1.RegistryService_RecordFeedback_FullMethodName:         models,
		registryv1.RegistryService_GetResults_FullMethodName:             models,
		registryv1.RegistryService_GetExperimentResults_FullMethodName:   models,
		registryv1.RegistryService_ListFeedback_FullMethodName:           models,
		registryv1.RegistryService_ListChanges_FullMethodName:            models,
		registryv1.RegistryService_ResolveVersion_FullMethodName:         models,
		registryv1.RegistryService_CreateWebhook_FullMethodName:          platform,
		registryv1.RegistryService_GetWebhook_FullMethodName:             platform,
		registryv1.RegistryService_ListWebhooks_FullMethodName:           platform,
		registryv1.RegistryService_UpdateWebhook_FullMethodName:          platform,
		registryv1.RegistryService_DeleteWebhook_FullMethodName:          platform,
		registryv1.RegistryService_ListDeliveries_FullMethodName:         platform,
		registryv1.RegistryService_Redeliver_FullMethodName:              platform,
		registryv1.ArtifactService_CreateUpload_FullMethodName:           shared,
		registryv1.ArtifactService_AppendUpload_FullMethodName:           shared,
		registryv1.ArtifactService_GetUpload_FullMethodName:              shared,
		registryv1.ArtifactService_ListUploads_FullMethodName:            shared,
		registryv1.ArtifactService_ListUploadParts_FullMethodName:        shared,
		registryv1.ArtifactService_CompleteUpload_FullMethodName:         shared,
		registryv1.ArtifactService_DeleteUpload_FullMethodName:           shared,
		registryv1.ArtifactService_GetArtifact_FullMethodName:            shared,
		registryv1.ArtifactService_ListArtifacts_FullMethodName:          shared,
		registryv1.ArtifactService_DeleteArtifact_FullMethodName:         shared,
		registryv1.ArtifactService_CollectArtifacts_FullMethodName:       shared,
		registryv1.ArtifactService_ReadArtifact_FullMethodName:           worker,
	}
}
