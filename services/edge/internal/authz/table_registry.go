package authz

import (
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

func registryMethods() map[string]Method {
	t := map[string]Method{
		registryv1.RegistryService_CreateModel_FullMethodName:     {Type: "registry-model", Action: "create", ID: name},
		registryv1.RegistryService_GetModel_FullMethodName:        {Type: "registry-model", Action: "get", ID: modelName},
		registryv1.RegistryService_ListModels_FullMethodName:      {Type: "registry-model", Action: "list"},
		registryv1.RegistryService_UpdateModel_FullMethodName:     {Type: "registry-model", Action: "update", ID: modelName},
		registryv1.RegistryService_DeleteModel_FullMethodName:     {Type: "registry-model", Action: "delete", ID: modelName},
		registryv1.RegistryService_UndeleteModel_FullMethodName:   {Type: "registry-model", Action: "delete", ID: modelName},
		registryv1.RegistryService_UpdateVersion_FullMethodName:   {Type: "registry-version", Action: "update", ID: modelName},
		registryv1.RegistryService_DeleteVersion_FullMethodName:   {Type: "registry-version", Action: "delete", ID: modelName},
		registryv1.RegistryService_UndeleteVersion_FullMethodName: {Type: "registry-version", Action: "delete", ID: modelName},
		registryv1.RegistryService_SignVersion_FullMethodName:     {Type: "registry-version", Action: "sign", ID: modelName},
		registryv1.RegistryService_CreateVersion_FullMethodName:   {Type: "registry-version", Action: "create", ID: modelName},
		registryv1.RegistryService_ExportModels_FullMethodName:    {Type: "registry-archive", Action: "export"},
		registryv1.RegistryService_ImportModels_FullMethodName:    {Type: "registry-archive", Action: "import"},
		registryv1.RegistryService_ExportArchive_FullMethodName:   {Type: "registry-archive", Action: "export"},
		registryv1.RegistryService_ImportArchive_FullMethodName:   {Type: "registry-archive", Action: "import", Once: true},
		registryv1.RegistryService_InspectSource_FullMethodName:   {Type: "registry-version", Action: "create"},
		registryv1.RegistryService_GetVersion_FullMethodName:      {Type: "registry-version", Action: "get", ID: modelName},
		registryv1.RegistryService_ListVersions_FullMethodName:    {Type: "registry-version", Action: "list", ID: modelName},
		registryv1.RegistryService_CreateVariant_FullMethodName:   {Type: "registry-variant", Action: "create", ID: modelName},
		registryv1.RegistryService_GetVariant_FullMethodName:      {Type: "registry-variant", Action: "get", ID: modelName},
		registryv1.RegistryService_ListVariants_FullMethodName:    {Type: "registry-variant", Action: "list", ID: modelName},
		registryv1.RegistryService_DeleteVariant_FullMethodName:   {Type: "registry-variant", Action: "delete", ID: modelName},
		registryv1.RegistryService_SetAlias_FullMethodName:        {Type: "registry-alias", Action: "set", ID: modelName},
		registryv1.RegistryService_GetAlias_FullMethodName:        {Type: "registry-alias", Action: "get", ID: modelName},
		registryv1.RegistryService_ListAliases_FullMethodName:     {Type: "registry-alias", Action: "list", ID: modelName},
		registryv1.RegistryService_DeleteAlias_FullMethodName:     {Type: "registry-alias", Action: "delete", ID: modelName},
		registryv1.RegistryService_SetSplit_FullMethodName:        {Type: "registry-split", Action: "set", ID: modelName},
		registryv1.RegistryService_GetSplit_FullMethodName:        {Type: "registry-split", Action: "get", ID: modelName},
		registryv1.RegistryService_DeleteSplit_FullMethodName:     {Type: "registry-split", Action: "delete", ID: modelName},

		// They name tenants and testers: the default policy shows them to nobody but
		// the platform's administrators.
		registryv1.RegistryService_CreateExperiment_FullMethodName:   {Type: "registry-experiment", Action: "create", ID: modelName},
		registryv1.RegistryService_GetExperiment_FullMethodName:      {Type: "registry-experiment", Action: "get", ID: modelName},
		registryv1.RegistryService_ListExperiments_FullMethodName:    {Type: "registry-experiment", Action: "list", ID: modelName},
		registryv1.RegistryService_UpdateExperiment_FullMethodName:   {Type: "registry-experiment", Action: "update", ID: modelName},
		registryv1.RegistryService_DeleteExperiment_FullMethodName:   {Type: "registry-experiment", Action: "delete", ID: modelName},
		registryv1.RegistryService_StartExperiment_FullMethodName:    {Type: "registry-experiment", Action: "start", ID: modelName},
		registryv1.RegistryService_RampExperiment_FullMethodName:     {Type: "registry-experiment", Action: "ramp", ID: modelName},
		registryv1.RegistryService_StopExperiment_FullMethodName:     {Type: "registry-experiment", Action: "stop", ID: modelName},
		registryv1.RegistryService_ConcludeExperiment_FullMethodName: {Type: "registry-experiment", Action: "conclude", ID: modelName},

		// Figures of all tenants' traffic.
		registryv1.RegistryService_GetResults_FullMethodName:           {Type: "registry-results", Action: "get", ID: modelName},
		registryv1.RegistryService_GetExperimentResults_FullMethodName: {Type: "registry-results", Action: "get", ID: modelName},

		// What users say, whatever their tenant.
		registryv1.RegistryService_ListFeedback_FullMethodName: {Type: "registry-results", Action: "list", ID: modelName},

		// What was done, by whom, to every tenant's models; and where it is told to.
		registryv1.RegistryService_ListChanges_FullMethodName:    {Type: "registry-change", Action: "list"},
		registryv1.RegistryService_ResolveVersion_FullMethodName: {Type: "registry-version", Action: "get", ID: modelName},
		registryv1.RegistryService_CreateWebhook_FullMethodName:  {Type: "registry-webhook", Action: "create", ID: name},
		registryv1.RegistryService_GetWebhook_FullMethodName:     {Type: "registry-webhook", Action: "manage", ID: webhook},
		registryv1.RegistryService_ListWebhooks_FullMethodName:   {Type: "registry-webhook", Action: "manage"},
		registryv1.RegistryService_UpdateWebhook_FullMethodName:  {Type: "registry-webhook", Action: "manage", ID: webhook},
		registryv1.RegistryService_DeleteWebhook_FullMethodName:  {Type: "registry-webhook", Action: "manage", ID: webhook},
		registryv1.RegistryService_ListDeliveries_FullMethodName: {Type: "registry-webhook", Action: "manage", ID: webhook},
		registryv1.RegistryService_Redeliver_FullMethodName:      {Type: "registry-webhook", Action: "manage", ID: webhook},

		registryv1.RegistryService_ListAliasHistory_FullMethodName:   {Type: "registry-alias", Action: "list", ID: modelName},
		registryv1.RegistryService_RollbackAlias_FullMethodName:      {Type: "registry-alias", Action: "set", ID: modelName},
		registryv1.RegistryService_GetAliasChange_FullMethodName:     {Type: "registry-alias", Action: "get", ID: modelName},
		registryv1.RegistryService_ListAliasChanges_FullMethodName:   {Type: "registry-alias", Action: "list", ID: modelName},
		registryv1.RegistryService_ApproveAliasChange_FullMethodName: {Type: "registry-alias", Action: "approve", ID: modelName},
		registryv1.RegistryService_RejectAliasChange_FullMethodName:  {Type: "registry-alias", Action: "reject", ID: modelName},
		registryv1.RegistryService_GetAliasProtection_FullMethodName: {Type: "registry-alias", Action: "get", ID: modelName},
		registryv1.RegistryService_SetAliasProtection_FullMethodName: {Type: "registry-alias", Action: "protect", ID: modelName},
		registryv1.RegistryService_ListSplitHistory_FullMethodName:   {Type: "registry-split", Action: "list", ID: modelName},
		registryv1.RegistryService_RollbackSplit_FullMethodName:      {Type: "registry-split", Action: "set", ID: modelName},

		registryv1.RegistryService_CreatePromptVersion_FullMethodName:    {Type: "registry-prompt", Action: "create", ID: prompt},
		registryv1.RegistryService_GetPrompt_FullMethodName:              {Type: "registry-prompt", Action: "list", ID: prompt},
		registryv1.RegistryService_GetPromptVersion_FullMethodName:       {Type: "registry-prompt", Action: "get", ID: prompt},
		registryv1.RegistryService_ListPromptVersions_FullMethodName:     {Type: "registry-prompt", Action: "list", ID: prompt},
		registryv1.RegistryService_ListPrompts_FullMethodName:            {Type: "registry-prompt", Action: "list"},
		registryv1.RegistryService_SetPromptAlias_FullMethodName:         {Type: "registry-prompt", Action: "set", ID: prompt},
		registryv1.RegistryService_DeletePromptAlias_FullMethodName:      {Type: "registry-prompt", Action: "delete", ID: prompt},
		registryv1.RegistryService_ListPromptAliasHistory_FullMethodName: {Type: "registry-prompt", Action: "list", ID: prompt},
		registryv1.RegistryService_RollbackPromptAlias_FullMethodName:    {Type: "registry-prompt", Action: "set", ID: prompt},
		registryv1.RegistryService_RenderPrompt_FullMethodName:           {Type: "registry-prompt", Action: "get", ID: prompt},
	}
	for method, m := range t {
		m.Platform = true
		t[method] = m
	}
	return t
}

func artifactMethods() map[string]Method {
	t := map[string]Method{
		registryv1.ArtifactService_CreateUpload_FullMethodName:     {Type: "registry-upload", Action: "create"},
		registryv1.ArtifactService_AppendUpload_FullMethodName:     {Type: "registry-upload", Action: "append", ID: upload, Once: true},
		registryv1.ArtifactService_GetUpload_FullMethodName:        {Type: "registry-upload", Action: "get", ID: upload},
		registryv1.ArtifactService_ListUploads_FullMethodName:      {Type: "registry-upload", Action: "list"},
		registryv1.ArtifactService_ListUploadParts_FullMethodName:  {Type: "registry-upload", Action: "get", ID: upload},
		registryv1.ArtifactService_CompleteUpload_FullMethodName:   {Type: "registry-upload", Action: "complete", ID: upload},
		registryv1.ArtifactService_DeleteUpload_FullMethodName:     {Type: "registry-upload", Action: "delete", ID: upload},
		registryv1.ArtifactService_GetArtifact_FullMethodName:      {Type: "registry-artifact", Action: "get", ID: sum},
		registryv1.ArtifactService_ListArtifacts_FullMethodName:    {Type: "registry-artifact", Action: "list"},
		registryv1.ArtifactService_DeleteArtifact_FullMethodName:   {Type: "registry-artifact", Action: "delete", ID: sum},
		registryv1.ArtifactService_CollectArtifacts_FullMethodName: {Type: "registry-artifact", Action: "collect"},
	}
	for method, m := range t {
		m.Platform = true
		t[method] = m
	}
	return t
}
