package batches

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/ids"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
	"github.com/poterne/poterne/services/edge/internal/authn"
	"github.com/poterne/poterne/services/edge/internal/files"
)

const (
	idPrefix    = "batch_"
	defaultPage = 20
)

// Deps is what a Server works with; all of it is needed.
type Deps struct {
	Config Config
	Store  Requests
	// Address says where a request comes from.
	Address func(ctx context.Context) netip.Addr
	Clock   clock.Clock
	IDs     ids.Source
	Log     *slog.Logger
}

// Server is edge.v1.BatchService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedBatchServiceServer
	Deps

	wake chan struct{}
}

// New returns a server.
func New(d Deps) *Server { return &Server{Deps: d, wake: make(chan struct{}, 1)} }

// Wake tells of batches that there may be something to do about.
func (s *Server) Wake() <-chan struct{} { return s.wake }

func (s *Server) woken() {
	select {
	case s.wake <- struct{}{}:
	default: // it is told already
	}
}

func ownerOf(ctx context.Context) (authn.Principal, files.Owner, error) {
	p, ok := authn.FromContext(ctx)
	if !ok {
		return p, files.Owner{}, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	return p, files.Owner{Tenant: p.Caller.Tenant, Subject: p.Caller.Subject}, nil
}

// CreateBatch makes a batch. Its lines are asked later as the holder of the key that
// is shown now: a key can be looked up by its name then, and ends when it is revoked.
// A token says who somebody is for minutes, a session ends with its browser, and
// neither can be looked at without its secret.
func (s *Server) CreateBatch(ctx context.Context, req *edgev1.CreateBatchRequest) (*edgev1.Batch, error) {
	p, o, err := ownerOf(ctx)
	if err != nil {
		return nil, err
	}
	if p.Caller.KeyID == "" || p.Claims != nil || p.SessionID != "" {
		return nil, apierr.New(apierr.FailedPrecondition, "a batch is worked on when you are not there: ask for it with an API key, which can be looked at until then, and revoked")
	}
	now := s.Clock.Now()
	b := Batch{
		ID: idPrefix + strings.ReplaceAll(s.IDs.New(), "-", ""), Owner: o, KeyID: p.Caller.KeyID, Address: s.Address(ctx).String(),
		Endpoint: req.GetEndpoint(), InputFile: req.GetInputFileId(), Metadata: req.GetMetadata(), Status: Validating,
		OutputTTL:  time.Duration(req.GetOutputExpiresAfter().GetSeconds()) * time.Second,
		CreateTime: now, ExpireTime: now.Add(s.Config.Window),
	}
	switch err := s.Store.Create(ctx, b, s.Config.MaxUnfinishedPerTenant); {
	case errors.Is(err, files.ErrNotFound):
		return nil, apierr.New(apierr.NotFound, "there is no file %.64q of yours for the purpose batch", req.GetInputFileId()).WithField("input_file_id")
	case errors.Is(err, ErrTooMany):
		return nil, apierr.New(apierr.QuotaExceeded, "the tenant has %d batches that are not finished, and may have no more", s.Config.MaxUnfinishedPerTenant)
	case err != nil:
		return nil, s.failed(err, "", "")
	}
	audit.From(ctx).SetResource("batch:" + b.ID)
	s.woken()
	return Message(b), nil
}

// GetBatch returns the caller's own.
func (s *Server) GetBatch(ctx context.Context, req *edgev1.GetBatchRequest) (*edgev1.Batch, error) {
	_, o, err := ownerOf(ctx)
	if err != nil {
		return nil, err
	}
	b, err := s.Store.Get(ctx, o, req.GetBatchId())
	if err != nil {
		return nil, s.failed(err, req.GetBatchId(), "batch_id")
	}
	return Message(b), nil
}

// ListBatches lists the caller's own.
func (s *Server) ListBatches(ctx context.Context, req *edgev1.ListBatchesRequest) (*edgev1.ListBatchesResponse, error) {
	_, o, err := ownerOf(ctx)
	if err != nil {
		return nil, err
	}
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = defaultPage
	}
	found, err := s.Store.List(ctx, o, req.GetAfter(), limit+1)
	if err != nil {
		return nil, s.failed(err, req.GetAfter(), "after")
	}
	out := &edgev1.ListBatchesResponse{Object: "list", HasMore: len(found) > limit}
	for _, b := range found[:min(limit, len(found))] {
		out.Data = append(out.Data, Message(b))
	}
	if n := len(out.GetData()); n > 0 {
		out.FirstId, out.LastId = &out.Data[0].Id, &out.Data[n-1].Id
	}
	return out, nil
}

// CancelBatch ends the caller's own. Again it changes nothing.
func (s *Server) CancelBatch(ctx context.Context, req *edgev1.CancelBatchRequest) (*edgev1.Batch, error) {
	_, o, err := ownerOf(ctx)
	if err != nil {
		return nil, err
	}
	b, err := s.Store.Cancel(ctx, o, req.GetBatchId(), s.Clock.Now())
	if errors.Is(err, ErrStatus) {
		return nil, apierr.New(apierr.Conflict, "the batch is %s: it cannot be cancelled any more", b.Status).WithField("batch_id")
	}
	if err != nil {
		return nil, s.failed(err, req.GetBatchId(), "batch_id")
	}
	audit.From(ctx).SetResource("batch:" + b.ID)
	s.woken()
	return Message(b), nil
}

func (s *Server) failed(err error, id, field string) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no batch %.64q of yours", id).WithField(field)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	default:
		return apierr.Wrap(apierr.Internal, err, "the batch cannot be kept or read")
	}
}

// Message is a batch as callers see it.
func Message(b Batch) *edgev1.Batch {
	out := &edgev1.Batch{
		Id: b.ID, Object: "batch", Endpoint: b.Endpoint, InputFileId: b.InputFile, CompletionWindow: "24h", Status: string(b.Status),
		CreatedAt: b.CreateTime.Unix(), ExpiresAt: b.ExpireTime.Unix(), InProgressAt: unix(b.InProgressTime), FinalizingAt: unix(b.FinalizingTime),
		CancellingAt: unix(b.CancellingTime), Metadata: b.Metadata,
		RequestCounts: &edgev1.BatchRequestCounts{Total: b.Total, Completed: b.Completed, Failed: b.Failed},
	}
	if b.OutputFile != "" {
		out.OutputFileId = &b.OutputFile
	}
	if b.ErrorFile != "" {
		out.ErrorFileId = &b.ErrorFile
	}
	ended := unix(b.EndTime)
	switch b.Status {
	case Completed:
		out.CompletedAt = ended
	case Failed:
		out.FailedAt = ended
	case Expired:
		out.ExpiredAt = ended
	case Cancelled:
		out.CancelledAt = ended
	case Validating, InProgress, Finalizing, Cancelling:
	}
	if len(b.Problems) > 0 {
		out.Errors = &edgev1.BatchErrors{Object: "list"}
	}
	for _, p := range b.Problems {
		e := &edgev1.BatchError{Code: p.Code, Message: p.Message}
		if p.Line > 0 {
			e.Line = &p.Line
		}
		if p.Param != "" {
			e.Param = &p.Param
		}
		out.Errors.Data = append(out.Errors.Data, e)
	}
	return out
}

func unix(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	s := t.Unix()
	return &s
}
