package allinone

import "maps"

// Why requests name nothing, or may be answered.
const (
	listsOwn     = "it lists what the caller's tenant has"
	aboutGateway = "it tells only what the gateway is"
	notOffered   = "the edge offers it to nobody"
	platforms    = "workers, prompts, uploads and artifacts are the platform's; its policy says who has them"
	allTenants   = "it tells of every tenant's models, and only to callers of the platform's tenant"
)

// requests is how each method is asked that needs more than the names of things,
// by Service/Method; what follows a plus tells several requests of a method apart.
func requests() map[string]request {
	out := make(map[string]request)
	for _, part := range []map[string]request{edgeRequests(), messageRequests(), adminRequests(), policyRequests(), searchRequests(), registryRequests(), mlflowRequests(), tensorRequests(), auditContentRequests(), usageRequests(), webhookRequests(), cacheRequests(), limitRequests(), mcpRequests(), conversationRequests(), routeRequests(), batchRequests(), explainRequests()} {
		maps.Copy(out, part)
	}
	return out
}

func edgeRequests() map[string]request {
	const said, saidREST = `[{"role":"user","content":{"text":"hello"}}]`, `[{"role":"user","content":"hello"}]`
	chat := func(more string) request {
		return request{json: `{"messages":` + said + more + `}`, rest: `{"messages":` + saidREST + more + `}`}
	}
	return map[string]request{
		"OpenAIService/CreateChatCompletion":           chat(`,"max_tokens":1`),
		"OpenAIService/CreateChatCompletion+alias":     chat(`,"max_tokens":1,"model":"{model}@{alias}"`),
		"OpenAIService/CreateChatCompletion+retrieval": chat(`,"max_tokens":1,"model":"sim-chat","retrieval":{"collection":"{collection}"}`),
		"OpenAIService/StreamChatCompletion":           chat(`,"max_tokens":1`),
		"OpenAIService/CreateCompletion":               {json: `{"prompt":{"text":"hello"}}`, rest: `{"prompt":"hello"}`},
		"OpenAIService/StreamCompletion":               {json: `{"prompt":{"text":"hello"}}`, rest: `{"prompt":"hello"}`},
		"OpenAIService/CreateEmbedding":                {json: `{"input":{"text":"hello"}}`, rest: `{"input":"hello"}`},
		"OpenAIService/Rerank":                         {json: `{"query":"hello","documents":[{"text":"hello"}]}`, rest: `{"query":"hello","documents":["hello"]}`},
		"OpenAIService/CountTokens":                    chat(``),
		"OpenAIService/ListModels":                     {nothing: listsOwn},
		"FeedbackService/CreateFeedback":               {json: `{"score":1}`},
		"AdminService/CreateApiKey":                    {json: `{"name":"mine","tenant":"acme","roles":["reader"]}`, shared: "whose key it is to be is told by its tenant's name, which is no secret of the tenant; it is refused"},
		"AdminService/GetApiKey":                       {json: `{"id":"{key}"}`},
		"AdminService/RevokeApiKey":                    {json: `{"id":"{key}"}`},
		"AdminService/ListApiKeys":                     {nothing: listsOwn},
		"AdminService/ListAuditRecords":                {nothing: listsOwn},
		"AdminService/ListWorkers":                     {shared: platforms},
		"AdminService/LiftQuarantine":                  {json: `{"worker_id":"w1"}`, platform: true},
		"AdminService/QuantizeModel":                   {json: `{"type":"q4_k_m"}`},
	}
}

func searchRequests() map[string]request {
	return map[string]request{
		"SearchService/CreateCollection":          {json: `{"id":"{collection}"}`},
		"SearchService/CreateCollection+model":    {json: `{"id":"mine","embedding_model":"{model}"}`},
		"SearchService/ListCollections":           {nothing: listsOwn},
		"SearchService/BatchUpsertDocuments":      {json: `{"documents":[{"id":"{document}","text":"mine"}]}`},
		"SearchService/ImportDocuments":           {json: `{"lines":[{"document":{"id":"{document}","text":"mine"}}]}`},
		"SearchService/RestoreCollection":         {json: `{"data":"AAAA"}`},
		"SearchService/Search":                    {json: `{"query":"text"}`},
		"SearchService/Search+rerank":             {json: `{"query":"text","collection":"{collection}","rerank":{"model":"{model}"}}`, reads: false},
		"SearchService/CreateEmbeddingGeneration": {json: `{"embedding_model":"sim-embedding"}`},
		"SearchService/GetEmbeddingGeneration":    {json: `{"number":1}`},
		"SearchService/ServeEmbeddingGeneration":  {json: `{"number":1}`},
		"SearchService/DeleteEmbeddingGeneration": {json: `{"number":1}`},
	}
}

func registryRequests() map[string]request {
	const spec = `{"task":"TASK_CHAT","engine":"sim","context_length":8192}`
	out := map[string]request{
		"RegistryService/CreateModel":         {json: `{"name":"{model}","task":"TASK_CHAT"}`},
		"RegistryService/CreateModel+for":     {json: `{"name":"{model}","task":"TASK_CHAT","tenant":"acme"}`},
		"RegistryService/UpdateModel":         {json: `{"display_name":"mine"}`},
		"RegistryService/UpdateModel+take":    {json: `{"model":"{model}","tenant":"other"}`},
		"RegistryService/ListModels":          {nothing: listsOwn},
		"RegistryService/CreateVersion":       {json: `{"spec":` + spec + `}`},
		"RegistryService/SignVersion":         {json: `{"signature":{"key_id":"0123456789abcdef","signature":"` + signature + `"}}`},
		"RegistryService/InspectSource":       {json: `{"uri":"file:///nothing"}`, nothing: "it reads what the operator lets be read"},
		"RegistryService/ExportModels":        {nothing: allTenants, platform: true},
		"RegistryService/ImportModels":        {json: `{"models":[{"model":{"name":"{model}","task":"TASK_CHAT"}}]}`, platform: true},
		"RegistryService/ExportArchive":       {nothing: allTenants, platform: true},
		"RegistryService/ImportArchive":       {json: `{"data":"AAAA"}`, nothing: allTenants, platform: true},
		"RegistryService/CreateVariant":       {json: `{"spec":` + spec + `}`},
		"RegistryService/SetAlias":            {json: `{"version":1}`},
		"RegistryService/GetAliasChange":      {json: `{"change":"{change}"}`},
		"RegistryService/ApproveAliasChange":  {json: `{"change":"{change}"}`},
		"RegistryService/RejectAliasChange":   {json: `{"change":"{change}"}`},
		"RegistryService/RollbackAlias":       {json: `{"revision":1}`},
		"RegistryService/RollbackSplit":       {json: `{"revision":1}`},
		"RegistryService/SetAliasProtection":  {json: `{"protected":["mine"]}`},
		"RegistryService/SetSplit":            {json: `{"arms":[{"name":"a","version":1,"weight":1000000}]}`},
		"RegistryService/CreateExperiment":    {json: `{"name":"{experiment}","arms":[{"name":"a","version":1,"weight":500000},{"name":"b","version":2,"weight":500000}]}`},
		"RegistryService/UpdateExperiment":    {json: `{"arms":[{"name":"a","version":1,"weight":500000},{"name":"b","version":2,"weight":500000}]}`},
		"RegistryService/RampExperiment":      {json: `{"weights":{"control":400000,"other":600000}}`},
		"RegistryService/StopExperiment":      {json: `{"reason":"mine"}`},
		"RegistryService/ConcludeExperiment":  {json: `{"winner":"other","reason":"mine"}`},
		"RegistryService/CreateRollout":       {json: `{"candidate":2,"alias":"{alias}","steps":[{"weight":1000,"min_duration":"60s"}]}`},
		"RegistryService/PauseRollout":        {json: `{"reason":"mine"}`},
		"RegistryService/ResumeRollout":       {json: `{"reason":"mine"}`},
		"RegistryService/ForceRollout":        {json: `{"reason":"mine"}`},
		"RegistryService/AbortRollout":        {json: `{"reason":"mine"}`},
		"RegistryService/ResolveVersion":      {json: `{"spec":` + spec + `}`},
		"RegistryService/ListChanges+all":     {nothing: allTenants, platform: true},
		"RegistryService/ReportOutcomes":      {nothing: notOffered},
		"RegistryService/RecordFeedback":      {nothing: notOffered},
		"RegistryService/CreatePromptVersion": {json: `{"prompt":"mine","spec":{"messages":[{"role":"user","content":"x"}]}}`, shared: platforms},
		"RegistryService/SetPromptAlias":      {json: `{"prompt":"mine","version":1}`, shared: platforms},
		"ArtifactService/CreateUpload":        {json: `{"name":"mine","size_bytes":1}`, shared: platforms},
		"ArtifactService/CollectArtifacts":    {json: `{"dry_run":true}`, shared: platforms},
		"ArtifactService/ListUploads":         {shared: platforms},
		"ArtifactService/ListArtifacts":       {shared: platforms},
		"RegistryService/ListPrompts":         {shared: platforms},
		"RegistryService/RollbackPromptAlias": {json: `{"prompt":"mine","revision":1}`, shared: platforms},
	}
	for _, name := range []string{"GetPrompt", "GetPromptVersion", "ListPromptVersions", "RenderPrompt", "DeletePromptAlias", "ListPromptAliasHistory"} {
		out["RegistryService/"+name] = request{json: `{"prompt":"mine"}`, shared: platforms}
	}
	for _, name := range []string{"AppendUpload", "GetUpload", "ListUploadParts", "CompleteUpload", "DeleteUpload"} {
		out["ArtifactService/"+name] = request{json: `{"upload":"` + uploadID + `"}`, shared: platforms}
	}
	for _, name := range []string{"GetArtifact", "DeleteArtifact"} {
		out["ArtifactService/"+name] = request{json: `{"sha256":"` + sum + `"}`, shared: platforms}
	}
	for name, text := range map[string]string{
		"CreateWebhook": `{"name":"mine","url":"https://example.com/","events":["model.created"]}`,
		"GetWebhook":    `{"webhook":"mine"}`, "ListWebhooks": ``, "UpdateWebhook": `{"webhook":"mine","url":"https://example.com/"}`,
		"DeleteWebhook": `{"webhook":"mine"}`, "ListDeliveries": `{"webhook":"mine"}`, "Redeliver": `{"webhook":"mine","delivery":"1"}`,
	} {
		out["RegistryService/"+name] = request{json: text, nothing: allTenants, platform: true}
	}
	return out
}

const (
	signature = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="
	sum       = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	uploadID  = "01234567-89ab-7def-8123-456789abcdef"
)

func mlflowRequests() map[string]request {
	out := map[string]request{
		"MlflowService/SearchRegisteredModels": {nothing: listsOwn},
		"MlflowService/SearchModelVersions":    {nothing: listsOwn},
		"MlflowService/SearchModelVersions+of": {json: `{"filter":"name='{model}'"}`},
	}
	for name, more := range map[string]string{
		"CreateRegisteredModel": ``, "GetRegisteredModel": ``, "UpdateRegisteredModel": `,"description":"mine"`, "DeleteRegisteredModel": ``,
		"GetLatestVersions": ``, "SetRegisteredModelTag": `,"key":"k","value":"v"`, "DeleteRegisteredModelTag": `,"key":"k"`,
		"SetRegisteredModelAlias": `,"version":"1"`, "DeleteRegisteredModelAlias": ``, "GetModelVersionByAlias": ``,
		"CreateModelVersion": `,"source":"file:///nothing"`, "GetModelVersion": ``, "UpdateModelVersion": `,"description":"mine"`, "DeleteModelVersion": ``,
		"SetModelVersionTag": `,"key":"k","value":"v"`, "DeleteModelVersionTag": `,"key":"k"`, "GetModelVersionDownloadUri": ``,
		"TransitionModelVersionStage": `,"stage":"Production"`,
	} {
		out["MlflowService/"+name] = request{json: `{"name":"{model}"` + more + `}`}
	}
	return out
}

func tensorRequests() map[string]request {
	const infer = `{"inputs":[{"name":"x","datatype":"FP32","shape":["1"],"contents":{"fp32_contents":[1]}}]}`
	return map[string]request{
		"GRPCInferenceService/ServerLive":       {nothing: aboutGateway, public: true},
		"GRPCInferenceService/ServerReady":      {nothing: aboutGateway, public: true},
		"GRPCInferenceService/ServerMetadata":   {nothing: aboutGateway},
		"GRPCInferenceService/ModelReady":       {json: `{"name":"{model}"}`},
		"GRPCInferenceService/ModelMetadata":    {json: `{"name":"{model}"}`},
		"GRPCInferenceService/ModelInfer":       {json: infer},
		"GRPCInferenceService/ModelStreamInfer": {json: infer},
		"GRPCInferenceService/RepositoryIndex":  {nothing: listsOwn},
	}
}
