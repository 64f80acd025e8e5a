package search

import (
	"github.com/poterne/poterne/pkg/assertion"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// identityEnds: search is called, and calls the inference service.
func identityEnds() assertion.Ends { return assertion.Ends{Sends: true, Receives: true} }

// access is who may call each method. All of them act in the caller's tenant, and
// by the caller's principals; none knows a tenant from a request.
func access() assertion.Table {
	own := assertion.Access{Callers: true, Tenant: assertion.Callers}
	return assertion.Table{
		searchv1.SearchService_CreateCollection_FullMethodName:            own,
		searchv1.SearchService_GetCollection_FullMethodName:               own,
		searchv1.SearchService_ListCollections_FullMethodName:             own,
		searchv1.SearchService_DeleteCollection_FullMethodName:            own,
		searchv1.SearchService_BatchUpsertDocuments_FullMethodName:        own,
		searchv1.SearchService_ImportDocuments_FullMethodName:             own,
		searchv1.SearchService_GetDocument_FullMethodName:                 own,
		searchv1.SearchService_ListDocuments_FullMethodName:               own,
		searchv1.SearchService_DeleteDocument_FullMethodName:              own,
		searchv1.SearchService_BackupCollection_FullMethodName:            own,
		searchv1.SearchService_RestoreCollection_FullMethodName:           own,
		searchv1.SearchService_Search_FullMethodName:                      own,
		searchv1.SearchService_CreateEmbeddingGeneration_FullMethodName:   own,
		searchv1.SearchService_ListEmbeddingGenerations_FullMethodName:    own,
		searchv1.SearchService_GetEmbeddingGeneration_FullMethodName:      own,
		searchv1.SearchService_ServeEmbeddingGeneration_FullMethodName:    own,
		searchv1.SearchService_RollbackEmbeddingGeneration_FullMethodName: own,
		searchv1.SearchService_DeleteEmbeddingGeneration_FullMethodName:   own,
	}
}
