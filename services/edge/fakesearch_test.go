package edge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// fakeSearch finds what it is told to, and remembers what it was asked.
type fakeSearch struct {
	searchv1.UnimplementedSearchServiceServer

	mu     sync.Mutex
	asked  []*searchv1.SearchRequest
	caller identity.Caller
	hits   []*searchv1.Hit
	// searching is called before anything is looked for; nil: nothing is.
	searching func(ctx context.Context) error
	// generation is every collection's.
	generation int64
	// pace, unless it is nil, is waited for by the n-th search, from 1 on.
	pace func(n int)
	// works is what models did for each search, batch of documents and message of an
	// import; documents counts the batches.
	works     []*searchv1.ModelWork
	documents int
	// failing, unless it is nil, is what every search comes to after models worked.
	failing error
	// embedder is every collection's embedding model.
	embedder string
}

func (f *fakeSearch) BatchUpsertDocuments(context.Context, *searchv1.BatchUpsertDocumentsRequest) (*searchv1.BatchUpsertDocumentsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.documents++
	return &searchv1.BatchUpsertDocumentsResponse{ModelWork: f.works}, nil
}

func (f *fakeSearch) Search(ctx context.Context, req *searchv1.SearchRequest) (*searchv1.SearchResponse, error) {
	if f.searching != nil {
		if err := f.searching(ctx); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	f.asked = append(f.asked, req)
	n, pace := len(f.asked), f.pace
	f.mu.Unlock()
	if pace != nil {
		pace(n)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.caller, _ = identity.FromContext(ctx)
	if req.GetFilter() == "year >>" {
		return nil, apierr.Invalid("filter", "filter: does not parse")
	}
	if f.failing != nil {
		return nil, failing(ctx, f.works, f.failing)
	}
	return &searchv1.SearchResponse{Hits: f.hits, Mode: "hybrid", Generation: f.generation, ModelWork: f.works}, nil
}

// failing tells what models did for a call that comes to an error, as the service does.
func failing(ctx context.Context, works []*searchv1.ModelWork, err error) error {
	for _, w := range works {
		text, bad := proto.Marshal(w)
		if bad == nil {
			bad = grpc.SetTrailer(ctx, metadata.Pairs("poterne-model-work-bin", string(text)))
		}
		if bad != nil {
			return bad
		}
	}
	return err
}

// GetCollection knows every collection, but that the tenant other has none called gone.
func (f *fakeSearch) GetCollection(ctx context.Context, req *searchv1.GetCollectionRequest) (*searchv1.GetCollectionResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c, _ := identity.FromContext(ctx); {
	case req.GetCollection() == "away":
		return nil, apierr.New(apierr.Unavailable, "the store is away")
	case req.GetCollection() == "gone" && c.Tenant == "other":
		return nil, apierr.New(apierr.NotFound, "there is no collection")
	}
	return &searchv1.GetCollectionResponse{Collection: &searchv1.Collection{Id: req.GetCollection(), Generation: f.generation, EmbeddingModel: f.embedder}}, nil
}

func (f *fakeSearch) GetDocument(_ context.Context, req *searchv1.GetDocumentRequest) (*searchv1.GetDocumentResponse, error) {
	return &searchv1.GetDocumentResponse{Document: &searchv1.Document{Id: req.GetDocument(), Text: req.GetCollection()}}, nil
}

// ImportDocuments takes documents whose id is not "bad", and says so of each.
func (f *fakeSearch) ImportDocuments(stream grpc.BidiStreamingServer[searchv1.ImportDocumentsRequest, searchv1.ImportDocumentsResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetCollection() == "none" {
		return apierr.New(apierr.NotFound, "there is no collection").WithField("collection")
	}
	p := &searchv1.ImportProgress{SettledLines: first.GetFirstLine() - 1}
	if err := stream.Send(&searchv1.ImportDocumentsResponse{Progress: p}); err != nil {
		return err
	}
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			p.Done = true
			return stream.Send(&searchv1.ImportDocumentsResponse{Progress: p})
		}
		if err != nil {
			return err
		}
		resp := &searchv1.ImportDocumentsResponse{Progress: p, ModelWork: f.works}
		for _, l := range req.GetLines() {
			v := &searchv1.ImportVerdict{Line: l.GetNumber(), Id: l.GetDocument().GetId(), Status: "created", SettledLines: l.GetNumber()}
			if e := l.GetError(); e != nil {
				v.Status, v.Error = "failed", e
			}
			p.SettledLines = l.GetNumber()
			resp.Verdicts = append(resp.Verdicts, v)
			if v.GetId() == "outage" {
				return apierr.New(apierr.Unavailable, "embedding is unavailable")
			}
		}
		if err := stream.Send(resp); err != nil {
			return err
		}
	}
}

// BackupCollection gives the collection's name twice, or fails after the first.
func (*fakeSearch) BackupCollection(req *searchv1.BackupCollectionRequest, stream grpc.ServerStreamingServer[searchv1.BackupCollectionResponse]) error {
	if req.GetCollection() == "none" {
		return apierr.New(apierr.NotFound, "there is no collection").WithField("collection")
	}
	for range 2 {
		if err := stream.Send(&searchv1.BackupCollectionResponse{Data: []byte(req.GetCollection() + ";")}); err != nil {
			return err
		}
		if req.GetCollection() == "breaks" {
			return apierr.New(apierr.Unavailable, "the store is away")
		}
	}
	return nil
}

// RestoreCollection makes a collection whose name for people tells how much came.
func (f *fakeSearch) RestoreCollection(stream grpc.ClientStreamingServer[searchv1.RestoreCollectionRequest, searchv1.RestoreCollectionResponse]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetCollection() == "taken" {
		return apierr.New(apierr.AlreadyExists, "there is one already").WithField("collection")
	}
	n := 0
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&searchv1.RestoreCollectionResponse{
				Collection: &searchv1.Collection{Id: first.GetCollection(), DisplayName: fmt.Sprint(n)},
			})
		}
		if err != nil {
			return err
		}
		n += len(req.GetData())
	}
}
