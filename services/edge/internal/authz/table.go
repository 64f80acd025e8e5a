package authz

import (
	"strings"

	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha" // older clients still ask it

	"github.com/poterne/poterne/pkg/apierr"
	oip "github.com/poterne/poterne/proto/gen/inference"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// Access is who may call a method at all.
type Access int

// The kinds of access. The zero value refuses, as does a missing method.
const (
	// Never is for methods of a served contract that the edge does not offer.
	Never Access = iota
	// Checked methods need a caller whom the policy allows.
	Checked
	// Public methods need no caller: they tell only that the gateway is up and
	// what its contract is, which its documentation shows to everybody too.
	Public
)

// Method is what a method needs.
type Method struct {
	Access Access
	// Type and Action are the permission.
	Type, Action string
	// Platform says that the resource belongs to the platform's tenant rather
	// than to the caller's.
	Platform bool
	// ID names the resource of a request; nil when there is no single one.
	ID func(req any) string
	// Tenant names the resource's tenant when the request may name another than
	// the caller's; "" is the caller's own.
	Tenant func(req any) string
	// Once: a stream is one request, which its first message describes; the others
	// are its data, and are neither judged nor counted by themselves.
	Once bool
	// Also lists what else a request needs, all in the caller's own tenant; nil
	// when nothing.
	Also func(req any) []Permission
}

// Permission is an action on a kind of resource.
type Permission struct {
	Type, ID, Action string
	// Reference is what follows a model's name.
	Reference string
}

// Table is what every method of the edge needs. A method that is missing is
// refused, and a test fails.
func Table() map[string]Method {
	t := map[string]Method{
		grpc_health_v1.Health_Check_FullMethodName:                             {Access: Public},
		grpc_health_v1.Health_Watch_FullMethodName:                             {Access: Public},
		grpc_health_v1.Health_List_FullMethodName:                              {Access: Public},
		reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      {Access: Public},
		reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: {Access: Public},
		// Consumers of the registry are services behind the edge.
		registryv1.RegistryService_Watch_FullMethodName:          {Access: Never},
		registryv1.RegistryService_ReportOutcomes_FullMethodName: {Access: Never},
		// Whose answer it was is for the edge to say: FeedbackService.
		registryv1.RegistryService_RecordFeedback_FullMethodName: {Access: Never},
		// Workers fetch files from the registry itself.
		registryv1.ArtifactService_ReadArtifact_FullMethodName: {Access: Never},
		// Probes of clients and load balancers; they tell what /livez tells.
		oip.GRPCInferenceService_ServerLive_FullMethodName:  {Access: Public},
		oip.GRPCInferenceService_ServerReady_FullMethodName: {Access: Public},
		// What is loaded follows from the registry's aliases and splits.
		oip.GRPCInferenceService_RepositoryModelLoad_FullMethodName:   {Access: Never},
		oip.GRPCInferenceService_RepositoryModelUnload_FullMethodName: {Access: Never},
	}
	for _, part := range []map[string]Method{openAIMethods(), messageMethods(), tensorMethods(), adminMethods(), searchMethods(), registryMethods(), rolloutMethods(), artifactMethods(), mlflowMethods(), keyMethods(), policyMethods(), auditMethods(), sessionMethods(), banMethods(), auditContentMethods(), usageMethods(), cacheMethods(), limitMethods(), mcpMethods(), conversationMethods(), routeMethods(), webhookMethods(), batchMethods(), requestMethods()} {
		for method, m := range part {
			m.Access = Checked
			t[method] = m
		}
	}
	return t
}

func openAIMethods() map[string]Method {
	return map[string]Method{
		edgev1.OpenAIService_CreateChatCompletion_FullMethodName: {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.OpenAIService_StreamChatCompletion_FullMethodName: {Type: "model", Action: "chat", ID: modelName, Also: retrieval},
		edgev1.OpenAIService_CreateCompletion_FullMethodName:     {Type: "model", Action: "complete", ID: modelName},
		edgev1.OpenAIService_StreamCompletion_FullMethodName:     {Type: "model", Action: "complete", ID: modelName},
		edgev1.OpenAIService_CreateEmbedding_FullMethodName:      {Type: "model", Action: "embed", ID: modelName},
		edgev1.OpenAIService_Rerank_FullMethodName:               {Type: "model", Action: "rerank", ID: modelName},
		edgev1.OpenAIService_CountTokens_FullMethodName:          {Type: "model", Action: "chat", ID: modelName},
		edgev1.OpenAIService_ListModels_FullMethodName:           {Type: "model", Action: "list"},
		edgev1.OpenAIService_GetModel_FullMethodName:             {Type: "model", Action: "get", ID: modelName},
		// Which answer is the caller's own is in its id.
		edgev1.FeedbackService_CreateFeedback_FullMethodName: {Type: "feedback", Action: "create"},
	}
}

func tensorMethods() map[string]Method {
	return map[string]Method{
		oip.GRPCInferenceService_ServerMetadata_FullMethodName:   {Type: "model", Action: "list"},
		oip.GRPCInferenceService_ModelReady_FullMethodName:       {Type: "model", Action: "get", ID: tensorModel},
		oip.GRPCInferenceService_ModelMetadata_FullMethodName:    {Type: "model", Action: "get", ID: tensorModel},
		oip.GRPCInferenceService_ModelInfer_FullMethodName:       {Type: "model", Action: "infer", ID: tensorModel},
		oip.GRPCInferenceService_ModelStreamInfer_FullMethodName: {Type: "model", Action: "infer", ID: tensorModel},
		oip.GRPCInferenceService_RepositoryIndex_FullMethodName:  {Type: "model", Action: "list"},
	}
}

func adminMethods() map[string]Method {
	return map[string]Method{
		edgev1.AdminService_CreateApiKey_FullMethodName:     {Type: "api-key", Action: "create", Tenant: tenant},
		edgev1.AdminService_GetApiKey_FullMethodName:        {Type: "api-key", Action: "get", ID: id},
		edgev1.AdminService_ListApiKeys_FullMethodName:      {Type: "api-key", Action: "list"},
		edgev1.AdminService_RevokeApiKey_FullMethodName:     {Type: "api-key", Action: "revoke", ID: id},
		edgev1.AdminService_ListAuditRecords_FullMethodName: {Type: "audit", Action: "list"},
		edgev1.AdminService_ListWorkers_FullMethodName:      {Type: "worker", Action: "list", Platform: true},
		edgev1.AdminService_LiftQuarantine_FullMethodName:   {Type: "worker", Action: "lift-quarantine", ID: worker, Platform: true},
		// What comes of it is a variant: who may not create one may not have it made.
		edgev1.AdminService_QuantizeModel_FullMethodName: {Type: "registry-variant", Action: "create", ID: modelName, Platform: true},
	}
}

func searchMethods() map[string]Method {
	return map[string]Method{
		searchv1.SearchService_CreateCollection_FullMethodName:     {Type: "collection", Action: "create", ID: id},
		searchv1.SearchService_GetCollection_FullMethodName:        {Type: "collection", Action: "get", ID: collection},
		searchv1.SearchService_ListCollections_FullMethodName:      {Type: "collection", Action: "list"},
		searchv1.SearchService_DeleteCollection_FullMethodName:     {Type: "collection", Action: "delete", ID: collection},
		searchv1.SearchService_Search_FullMethodName:               {Type: "collection", Action: "search", ID: collection, Also: reranking},
		searchv1.SearchService_BatchUpsertDocuments_FullMethodName: {Type: "document", Action: "write", ID: collection},
		searchv1.SearchService_ImportDocuments_FullMethodName:      {Type: "document", Action: "write", ID: collection, Once: true},
		searchv1.SearchService_BackupCollection_FullMethodName:     {Type: "collection", Action: "backup", ID: collection},
		searchv1.SearchService_RestoreCollection_FullMethodName:    {Type: "collection", Action: "restore", ID: collection, Once: true},
		searchv1.SearchService_GetDocument_FullMethodName:          {Type: "document", Action: "get", ID: document},
		searchv1.SearchService_ListDocuments_FullMethodName:        {Type: "document", Action: "list", ID: collection},
		searchv1.SearchService_DeleteDocument_FullMethodName:       {Type: "document", Action: "delete", ID: document},
		// What searches are answered by, and ids of documents that failed: whoever
		// may not manage a collection sees neither.
		searchv1.SearchService_CreateEmbeddingGeneration_FullMethodName:   {Type: "collection", Action: "manage", ID: collection},
		searchv1.SearchService_GetEmbeddingGeneration_FullMethodName:      {Type: "collection", Action: "manage", ID: collection},
		searchv1.SearchService_ListEmbeddingGenerations_FullMethodName:    {Type: "collection", Action: "manage", ID: collection},
		searchv1.SearchService_ServeEmbeddingGeneration_FullMethodName:    {Type: "collection", Action: "manage", ID: collection},
		searchv1.SearchService_RollbackEmbeddingGeneration_FullMethodName: {Type: "collection", Action: "manage", ID: collection},
		searchv1.SearchService_DeleteEmbeddingGeneration_FullMethodName:   {Type: "collection", Action: "manage", ID: collection},
	}
}

func upload(req any) string {
	if r, ok := req.(interface{ GetUpload() string }); ok {
		return r.GetUpload()
	}
	return ""
}

// sum is an artifact's SHA-256.
func sum(req any) string {
	if r, ok := req.(interface{ GetSha256() string }); ok {
		return r.GetSha256()
	}
	return ""
}

// modelName is the model's name without the alias, version or digest after it:
// rules name models, not references.
func modelName(req any) string {
	r, ok := req.(interface{ GetModel() string })
	if !ok {
		return ""
	}
	return bareName(r.GetModel())
}

func bareName(reference string) string {
	name, _, _ := strings.Cut(reference, "@")
	return name
}

// tensorModel is modelName for the Open Inference Protocol, which has it in
// fields of other names.
func tensorModel(req any) string {
	switch r := req.(type) {
	case interface{ GetModelName() string }:
		return bareName(r.GetModelName())
	case interface{ GetName() string }:
		return bareName(r.GetName())
	default:
		return ""
	}
}

func collection(req any) string {
	if r, ok := req.(interface{ GetCollection() string }); ok {
		return r.GetCollection()
	}
	return ""
}

// document is collection/document.
func document(req any) string {
	if r, ok := req.(interface{ GetDocument() string }); ok {
		return collection(req) + "/" + r.GetDocument()
	}
	return ""
}

func id(req any) string {
	if r, ok := req.(interface{ GetId() string }); ok {
		return r.GetId()
	}
	return ""
}

func worker(req any) string {
	if r, ok := req.(interface{ GetWorkerId() string }); ok {
		return r.GetWorkerId()
	}
	return ""
}

func webhook(req any) string {
	if r, ok := req.(interface{ GetWebhook() string }); ok {
		return r.GetWebhook()
	}
	return ""
}

func name(req any) string {
	if r, ok := req.(interface{ GetName() string }); ok {
		return r.GetName()
	}
	return ""
}

func prompt(req any) string {
	if r, ok := req.(interface{ GetPrompt() string }); ok {
		return r.GetPrompt()
	}
	return ""
}

// retrieval is the search that the context builder does for a conversation.
func retrieval(req any) []Permission {
	r, ok := req.(interface{ GetRetrieval() *edgev1.Retrieval })
	if !ok || r.GetRetrieval() == nil {
		return nil
	}
	search := Permission{Type: "collection", ID: r.GetRetrieval().GetCollection(), Action: "search"}
	return append([]Permission{search}, reranking(r.GetRetrieval())...)
}

// reranking is the model that a search has rerank its hits, if any.
func reranking(req any) []Permission {
	r, ok := req.(interface{ GetRerank() *searchv1.Rerank })
	if !ok || r.GetRerank() == nil {
		return nil
	}
	return []Permission{{Type: "model", ID: bareName(r.GetRerank().GetModel()), Reference: referenceOf(r.GetRerank().GetModel()), Action: "rerank"}}
}

func tenant(req any) string {
	if r, ok := req.(interface{ GetTenant() string }); ok {
		return r.GetTenant()
	}
	return ""
}

// Resource returns what req is about, for a caller of the given tenant.
func (a *Authorizer) Resource(m Method, callerTenant string, req any) Resource {
	res := Resource{Type: m.Type, Tenant: callerTenant}
	if m.Platform {
		res.Tenant = a.platform
	}
	if m.ID != nil {
		res.ID = m.ID(req)
	}
	if m.Tenant != nil {
		if t := m.Tenant(req); t != "" {
			res.Tenant = t
		}
	}
	return res
}

func notOffered() error {
	return apierr.New(apierr.PermissionDenied, "the gateway does not offer this method")
}
