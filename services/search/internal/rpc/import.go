package rpc

import (
	"context"
	"errors"
	"io"
	"strings"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/imports"
	"github.com/poterne/poterne/services/search/internal/ingest"
	"github.com/poterne/poterne/services/search/internal/modelwork"
)

// ImportDocuments implements SearchService.
func (s *Server) ImportDocuments(stream grpc.BidiStreamingServer[searchv1.ImportDocumentsRequest, searchv1.ImportDocumentsResponse]) (err error) {
	ctx := stream.Context()
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return apierr.Invalid("collection", "collection: is missing")
	}
	if err != nil {
		return err
	}
	switch {
	case first.GetCollection() == "":
		return apierr.Invalid("collection", "collection: is missing")
	case len(first.GetLines()) > 0:
		return apierr.Invalid("lines", "lines: the first message brings none")
	}
	who, c, err := s.collection(ctx, first.GetCollection())
	if err != nil {
		return err
	}
	ctx, work := modelwork.NewContext(ctx)
	defer func() { tellWithout(ctx, work, nil, err, stream.SetTrailer) }()
	return s.o.Importer.Run(ctx, imports.Request{
		Collection: c, By: who.writes(), First: first.GetFirstLine(), Wait: first.GetRefresh() != refreshNone,
	}, &importStream{server: s, ctx: ctx, stream: stream, work: work})
}

// importStream is an import's stream in the contract's messages.
type importStream struct {
	server *Server
	ctx    context.Context //nolint:containedctx // the stream's own
	stream grpc.BidiStreamingServer[searchv1.ImportDocumentsRequest, searchv1.ImportDocumentsResponse]
	work   *modelwork.Tally
}

// Recv returns the next documents.
func (s *importStream) Recv() ([]imports.Line, error) {
	req, err := s.stream.Recv()
	if err != nil {
		return nil, err
	}
	if req.GetCollection() != "" || req.GetFirstLine() != 0 || req.GetRefresh() != "" {
		return nil, apierr.Invalid("collection", "collection, first_line and refresh: are of the first message only")
	}
	lines := make([]imports.Line, len(req.GetLines()))
	for i, l := range req.GetLines() {
		lines[i] = lineOf(l)
	}
	return lines, nil
}

func lineOf(l *searchv1.ImportLine) imports.Line {
	out := imports.Line{Number: l.GetNumber()}
	switch e := l.GetError(); {
	case e != nil:
		reason := apierr.Reason(e.GetCode())
		if !reason.Known() {
			reason = apierr.InvalidArgument
		}
		out.Err = apierr.New(reason, "%s", e.GetMessage()).WithField(e.GetField())
		out.Document.ID = l.GetDocument().GetId()
	case l.GetDocument() == nil:
		out.Err = apierr.Invalid("document", "is missing")
	default:
		out.Document = inputOf(l.GetDocument())
	}
	return out
}

// Send tells what became of lines.
func (s *importStream) Send(list []imports.Verdict, p imports.Progress) error {
	resp := &searchv1.ImportDocumentsResponse{Progress: &searchv1.ImportProgress{
		SettledLines: p.Settled, Generation: p.Generation, Done: p.Done,
		Created: p.Counts[ingest.Created], Updated: p.Counts[ingest.Updated],
		Unchanged: p.Counts[ingest.Unchanged], Failed: p.Counts[ingest.Failed],
	}}
	resp.ModelWork = workToProto(s.work)
	if p.Behind != nil {
		s.server.o.Metrics.NotServed(s.ctx, searchv1.SearchService_ImportDocuments_FullMethodName, p.Behind)
		resp.Progress.Warnings = []string{warnBehind}
	}
	results := make([]ingest.Result, len(list))
	for i, v := range list {
		results[i] = v.Result
		s.server.o.Metrics.Document(s.ctx, string(v.Status))
		resp.Verdicts = append(resp.Verdicts, verdictToProto(v))
	}
	s.server.noteFailures(s.ctx, searchv1.SearchService_ImportDocuments_FullMethodName, results)
	return s.stream.Send(resp)
}

func verdictToProto(v imports.Verdict) *searchv1.ImportVerdict {
	out := &searchv1.ImportVerdict{
		Line: v.Line, SettledLines: v.Line, Id: strings.ToValidUTF8(v.ID, "\ufffd"),
		Status: string(v.Status), ChunkCount: int32of(v.Chunks),
	}
	if v.Err != nil {
		out.Error = &searchv1.ImportError{Code: string(v.Err.Reason), Message: v.Err.Message, Field: v.Err.Field}
		if v.Err.Field != "" && !strings.HasPrefix(v.Err.Message, v.Err.Field) {
			out.Error.Message = v.Err.Field + " " + v.Err.Message
		}
	}
	return out
}
