package rpc

import (
	"context"

	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/modelwork"
	"github.com/poterne/poterne/services/search/internal/outage"
)

const refreshNone = "none"

// warnBehind is what a writer is told when the index cannot follow.
const warnBehind = "the documents are kept, and will be found once the collection's index can be used again"

// BatchUpsertDocuments implements SearchService.
func (s *Server) BatchUpsertDocuments(ctx context.Context, req *searchv1.BatchUpsertDocumentsRequest) (answer *searchv1.BatchUpsertDocumentsResponse, err error) {
	who, c, err := s.collection(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	docs := make([]ingest.Input, len(req.GetDocuments()))
	for i, d := range req.GetDocuments() {
		docs[i] = inputOf(d)
	}
	ctx, work := modelwork.NewContext(ctx)
	defer func() { tellWithout(ctx, work, answer.GetModelWork(), err, trailerOf(ctx)) }()
	results, generation, err := s.o.Ingester.Upsert(ctx, c, who.writes(), docs, req.GetRefresh() != refreshNone)
	if err != nil && results == nil {
		return nil, err
	}
	s.noteFailures(ctx, searchv1.SearchService_BatchUpsertDocuments_FullMethodName, results)
	resp := &searchv1.BatchUpsertDocumentsResponse{Generation: generation, ModelWork: workToProto(work)}
	if err != nil {
		s.o.Metrics.NotServed(ctx, searchv1.SearchService_BatchUpsertDocuments_FullMethodName, err)
		resp.Warnings = append(resp.Warnings, warnBehind)
	}
	for i, r := range results {
		s.o.Metrics.Document(ctx, string(r.Status))
		resp.Results = append(resp.Results, resultToProto(i, r))
		if r.Status == ingest.Failed {
			resp.Failed++
		} else {
			resp.Succeeded++
		}
	}
	return resp, nil
}

// GetDocument implements SearchService.
func (s *Server) GetDocument(ctx context.Context, req *searchv1.GetDocumentRequest) (*searchv1.GetDocumentResponse, error) {
	who, c, err := s.collection(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	d, err := s.o.Store.Document(ctx, c, who.principals, req.GetDocument())
	if err != nil {
		return nil, err
	}
	out, err := documentToProto(d)
	return &searchv1.GetDocumentResponse{Document: out}, err
}

// ListDocuments implements SearchService.
func (s *Server) ListDocuments(ctx context.Context, req *searchv1.ListDocumentsRequest) (*searchv1.ListDocumentsResponse, error) {
	who, c, err := s.collection(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	list := "documents of " + c.UID
	after, err := decodePage(list, req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := pageSize(req.GetPageSize())
	found, err := s.o.Store.Documents(ctx, c, who.principals, after, size+1)
	if err != nil {
		return nil, err
	}
	resp := &searchv1.ListDocumentsResponse{}
	if len(found) > size {
		found = found[:size]
		resp.NextPageToken = encodePage(list, found[size-1].ID)
	}
	for _, d := range found {
		out, err := documentToProto(d)
		if err != nil {
			return nil, err
		}
		resp.Documents = append(resp.Documents, out)
	}
	return resp, nil
}

// DeleteDocument implements SearchService. The document is gone from every
// index when it answers, or as soon as an index that is away can be used again;
// no search shows it meanwhile, since hits are read from the store.
func (s *Server) DeleteDocument(ctx context.Context, req *searchv1.DeleteDocumentRequest) (*searchv1.DeleteDocumentResponse, error) {
	who, c, err := s.collection(ctx, req.GetCollection())
	if err != nil {
		return nil, err
	}
	generation, err := s.o.Store.DeleteDocument(ctx, c, who.writes(), req.GetDocument())
	if err != nil {
		return nil, err
	}
	s.o.Follower.Notify()
	if err := s.o.Follower.CatchUpServing(ctx, c, generation); outage.Is(err) {
		s.o.Metrics.NotServed(ctx, searchv1.SearchService_DeleteDocument_FullMethodName, err)
	} else if err != nil {
		return nil, err
	}
	return &searchv1.DeleteDocumentResponse{}, nil
}
