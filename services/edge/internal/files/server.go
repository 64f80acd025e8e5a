// Package files answers OpenAI's Files API: it takes the inputs of batches and keeps
// them and the results, in pieces: what is known of them in the edge's own store, and
// their bytes there, in a directory or in a bucket, so that every edge has them. Who may
// ask was decided before. Start reading at Server; store.go is what is kept, writer.go
// how, contents.go where.
package files

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/clock"
	"github.com/poterne/poterne/pkg/identity"
	"github.com/poterne/poterne/pkg/ids"
	"github.com/poterne/poterne/pkg/lifecycle"
	"github.com/poterne/poterne/pkg/telemetry"
	edgev1 "github.com/poterne/poterne/proto/gen/poterne/edge/v1"
	"github.com/poterne/poterne/services/edge/internal/audit"
)

// The purposes.
const (
	PurposeBatch       = "batch"
	PurposeBatchOutput = "batch_output"
)

const (
	idPrefix = "file-"
	// MaxFilename bounds a file's name, in bytes.
	MaxFilename = 255
	// writingTime is how long a file may take to be written before it is given up. No
	// upload lasts so long (limits.deadlines.upload).
	writingTime = 24 * time.Hour

	defaultPage   = 100
	purgeInterval = time.Minute
	purgeStep     = 16
)

// Deps is what a Server works with; all of it is needed.
type Deps struct {
	Config Config
	Store  Store
	Clock  clock.Clock
	IDs    ids.Source
	Log    *slog.Logger
}

// Server is edge.v1.FileService. It is safe for concurrent use.
type Server struct {
	edgev1.UnimplementedFileServiceServer
	Deps
}

// New returns a server.
func New(d Deps) *Server { return &Server{Deps: d} }

// NewID makes a file's id.
func NewID(source ids.Source) string { return idPrefix + strings.ReplaceAll(source.New(), "-", "") }

// Begin returns a file of an owner that is to be written now.
func Begin(o Owner, id string, now time.Time) File {
	return File{ID: id, Owner: o, CreateTime: now, ExpireTime: now.Add(writingTime)}
}

func ownerOf(ctx context.Context) (Owner, error) {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return Owner{}, apierr.New(apierr.Internal, "the request was not authenticated")
	}
	return Owner{Tenant: c.Tenant, Subject: c.Subject}, nil
}

// UploadFile takes a file.
func (s *Server) UploadFile(in grpc.ClientStreamingServer[edgev1.UploadFileRequest, edgev1.File]) error {
	ctx := in.Context()
	o, err := ownerOf(ctx)
	if err != nil {
		return err
	}
	w, err := NewWriter(ctx, s.Store, Begin(o, NewID(s.IDs), s.Clock.Now()), Room{Files: s.Config.MaxTenantFiles, Bytes: s.Config.MaxTenantBytes}, s.Config.MaxFileBytes)
	if err != nil {
		return s.failed(err, "", "file")
	}
	f, err := s.receive(in, w)
	if err == nil {
		err = s.failed(s.Store.Finish(ctx, f), f.ID, "file")
	}
	if err != nil {
		if forgotten := w.Abandon(ctx); forgotten != nil {
			s.Log.WarnContext(ctx, "a file that was not finished is kept for a day", telemetry.Err(forgotten))
		}
		return err
	}
	audit.From(ctx).SetResource("file:" + f.ID)
	return in.SendAndClose(Message(f))
}

// receive writes what comes, and returns the file as it is to be.
func (s *Server) receive(in grpc.ClientStreamingServer[edgev1.UploadFileRequest, edgev1.File], w *Writer) (File, error) {
	ctx := in.Context()
	var name, purpose string
	var expires *edgev1.FileExpiresAfter
	for {
		req, err := in.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return File{}, err
		}
		if req.GetFilename() != "" {
			name = req.GetFilename()
		}
		if req.GetPurpose() != "" {
			purpose = req.GetPurpose()
		}
		if req.GetExpiresAfter() != nil {
			expires = req.GetExpiresAfter()
		}
		if err := w.Write(ctx, req.GetData()); err != nil {
			return File{}, s.failed(err, "", "file")
		}
	}
	f, err := w.Finished(ctx)
	switch {
	case err != nil:
		return f, s.failed(err, "", "file")
	case purpose != PurposeBatch:
		return f, apierr.Invalid("purpose", "purpose: must be batch")
	case f.Bytes == 0:
		return f, apierr.Invalid("file", "file: is empty")
	}
	f.Filename, f.Purpose, f.CreateTime = label(name), purpose, s.Clock.Now()
	f.ExpireTime = f.CreateTime.Add(s.Config.TTL)
	if expires != nil {
		f.ExpireTime = f.CreateTime.Add(time.Duration(expires.GetSeconds()) * time.Second)
	}
	return f, nil
}

// label makes of a name what can be shown anywhere: no path, nothing that is no text.
func label(name string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return -1
		}
		return r
	}, name)
	for len(name) > MaxFilename {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	if name == "" || name == "." || name == ".." {
		return "file"
	}
	return name
}

// ListFiles lists the caller's own.
func (s *Server) ListFiles(ctx context.Context, req *edgev1.ListFilesRequest) (*edgev1.ListFilesResponse, error) {
	o, err := ownerOf(ctx)
	if err != nil {
		return nil, err
	}
	limit := int(req.GetLimit())
	if limit == 0 {
		limit = defaultPage
	}
	found, err := s.Store.List(ctx, Query{
		Owner: o, Purpose: req.GetPurpose(), After: req.GetAfter(), Oldest: req.GetOrder() == "asc", Limit: limit + 1, Now: s.Clock.Now(),
	})
	if err != nil {
		return nil, s.failed(err, req.GetAfter(), "after")
	}
	out := &edgev1.ListFilesResponse{Object: "list", HasMore: len(found) > limit}
	for _, f := range found[:min(limit, len(found))] {
		out.Data = append(out.Data, Message(f))
	}
	if n := len(out.GetData()); n > 0 {
		out.FirstId, out.LastId = &out.Data[0].Id, &out.Data[n-1].Id
	}
	return out, nil
}

func (s *Server) get(ctx context.Context, id string) (File, error) {
	o, err := ownerOf(ctx)
	if err != nil {
		return File{}, err
	}
	f, err := s.Store.Get(ctx, o, id, s.Clock.Now())
	return f, s.failed(err, id, "file_id")
}

// GetFile returns what is known of a file.
func (s *Server) GetFile(ctx context.Context, req *edgev1.GetFileRequest) (*edgev1.File, error) {
	f, err := s.get(ctx, req.GetFileId())
	if err != nil {
		return nil, err
	}
	return Message(f), nil
}

// GetFileContent returns a file's bytes.
func (s *Server) GetFileContent(req *edgev1.GetFileContentRequest, out grpc.ServerStreamingServer[edgev1.GetFileContentResponse]) error {
	ctx := out.Context()
	f, err := s.get(ctx, req.GetFileId())
	if err != nil {
		return err
	}
	for seq := range f.Chunks {
		data, err := s.Store.Piece(ctx, f, seq)
		if err != nil {
			return s.failed(err, f.ID, "file_id")
		}
		if err := out.Send(&edgev1.GetFileContentResponse{Data: data}); err != nil {
			return err
		}
	}
	return nil
}

// DeleteFile forgets a file.
func (s *Server) DeleteFile(ctx context.Context, req *edgev1.DeleteFileRequest) (*edgev1.DeleteFileResponse, error) {
	o, err := ownerOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.Store.Delete(ctx, o, req.GetFileId(), s.Clock.Now()); err != nil {
		return nil, s.failed(err, req.GetFileId(), "file_id")
	}
	audit.From(ctx).SetResource("file:" + req.GetFileId())
	return &edgev1.DeleteFileResponse{Id: req.GetFileId(), Object: "file", Deleted: true}, nil
}

// failed is what the caller is told; nil for nil.
func (s *Server) failed(err error, id, field string) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, ErrNotFound):
		return apierr.New(apierr.NotFound, "there is no file %.64q of yours", id).WithField(field)
	case errors.Is(err, ErrInUse):
		return apierr.New(apierr.FailedPrecondition, "a batch that is not finished reads the file %.64q: cancel it first", id).WithField(field)
	case errors.Is(err, ErrTooLarge):
		return apierr.New(apierr.PayloadTooLarge, "a file may have %d bytes", s.Config.MaxFileBytes).WithField(field)
	case errors.Is(err, ErrTooMany):
		return apierr.New(apierr.QuotaExceeded, "the tenant has %d files, and may have no more: delete some", s.Config.MaxTenantFiles).WithField(field)
	case errors.Is(err, ErrFull):
		return apierr.New(apierr.QuotaExceeded, "the tenant's files have %d bytes, and may have no more: delete some", s.Config.MaxTenantBytes).WithField(field)
	default:
		return apierr.Wrap(apierr.Internal, err, "the file cannot be kept or read")
	}
}

// Message is a file as callers see it.
func Message(f File) *edgev1.File {
	out := &edgev1.File{
		Id: f.ID, Object: "file", Bytes: f.Bytes, CreatedAt: f.CreateTime.Unix(), Filename: f.Filename, Purpose: f.Purpose, Status: "processed", Sha256: f.SHA256,
	}
	if !f.ExpireTime.IsZero() {
		at := f.ExpireTime.Unix()
		out.ExpiresAt = &at
	}
	return out
}

// Component forgets what has ended.
func (s *Server) Component() lifecycle.Component {
	return lifecycle.Component{Name: "edge: files", Run: func(ctx context.Context) error {
		return lifecycle.Every(ctx, s.Clock, purgeInterval, nil, func(ctx context.Context) error {
			n, err := purgeStep, error(nil)
			for n == purgeStep && err == nil {
				n, err = s.Store.Purge(ctx, s.Clock.Now(), purgeStep)
			}
			if err != nil && ctx.Err() == nil {
				s.Log.WarnContext(ctx, "expired files could not be forgotten", telemetry.Err(err))
			}
			return nil
		})
	}}
}
