package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/poterne/poterne/pkg/apierr"
	"github.com/poterne/poterne/pkg/identity"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
	"github.com/poterne/poterne/services/registry/internal/pagetoken"
	"github.com/poterne/poterne/services/registry/internal/store"
)

// Server serves poterne.registry.v1.ArtifactService. Calls reach it through the
// service's chain, which has validated them. It is safe for concurrent use.
type Server struct {
	registryv1.UnimplementedArtifactServiceServer

	m *Manager
}

// NewServer returns a server of m.
func NewServer(m *Manager) *Server { return &Server{m: m} }

// readBytes is how much of an artifact is sent at once.
const readBytes = 256 << 10

// CreateUpload implements registryv1.ArtifactServiceServer.
func (s *Server) CreateUpload(ctx context.Context, req *registryv1.CreateUploadRequest) (*registryv1.CreateUploadResponse, error) {
	if name := req.GetName(); name == "." || name == ".." ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '/' || r == '\\' }) {
		return nil, apierr.Invalid("name", "must be a file's name, without slashes and control characters")
	}
	u, err := s.m.Begin(ctx, creator(ctx), req.GetName(), req.GetSizeBytes(), req.GetSha256())
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateUploadResponse{Upload: s.upload(u)}, nil
}

func creator(ctx context.Context) string {
	c, ok := identity.FromContext(ctx)
	if !ok {
		return ""
	}
	return strings.ToValidUTF8(strings.ReplaceAll(c.Tenant+"/"+c.Subject, "\x00", ""), "")
}

// AppendUpload implements registryv1.ArtifactServiceServer.
func (s *Server) AppendUpload(stream grpc.ClientStreamingServer[registryv1.AppendUploadRequest, registryv1.AppendUploadResponse]) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) || err == nil && first.GetUpload() == "" {
		return apierr.Invalid("upload", "the first message must name the upload")
	}
	if err != nil {
		return err
	}
	in := newReceiver(stream, first.GetData())
	defer in.stop()
	u, err := s.m.Append(stream.Context(), Append{
		ID: first.GetUpload(), Offset: first.GetOffset(), Size: first.GetSizeBytes(), Checksum: first.GetChecksum(),
	}, in)
	if err != nil {
		return err
	}
	return stream.SendAndClose(&registryv1.AppendUploadResponse{Upload: s.upload(u)})
}

// GetUpload implements registryv1.ArtifactServiceServer.
func (s *Server) GetUpload(ctx context.Context, req *registryv1.GetUploadRequest) (*registryv1.GetUploadResponse, error) {
	u, err := s.m.Store.GetUpload(ctx, req.GetUpload())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetUploadResponse{Upload: s.upload(u)}, nil
}

// ListUploads implements registryv1.ArtifactServiceServer.
func (s *Server) ListUploads(ctx context.Context, req *registryv1.ListUploadsRequest) (*registryv1.ListUploadsResponse, error) {
	list, next, err := page(req, "uploads/"+req.GetSha256(), func(u *store.Upload) string {
		return strconv.FormatInt(u.Created.UnixMicro(), 10) + "/" + u.ID
	}, func(after string, limit int) ([]*store.Upload, error) {
		at, id, ok := strings.Cut(after, "/")
		us, err := strconv.ParseInt(at, 10, 64)
		if after != "" && (!ok || err != nil) {
			return nil, errBadToken()
		}
		return s.m.Store.ListUploads(ctx, req.GetSha256(), time.UnixMicro(us), id, limit)
	})
	if err != nil {
		return nil, err
	}
	out := &registryv1.ListUploadsResponse{NextPageToken: next}
	for _, u := range list {
		out.Uploads = append(out.Uploads, s.upload(u))
	}
	return out, nil
}

// ListUploadParts implements registryv1.ArtifactServiceServer.
func (s *Server) ListUploadParts(ctx context.Context, req *registryv1.ListUploadPartsRequest) (*registryv1.ListUploadPartsResponse, error) {
	if _, err := s.m.Store.GetUpload(ctx, req.GetUpload()); err != nil {
		return nil, err
	}
	list, next, err := page(req, "parts/"+req.GetUpload(), func(p store.UploadPart) string { return strconv.Itoa(int(p.Number)) },
		func(after string, limit int) ([]store.UploadPart, error) {
			n, err := strconv.ParseInt(after, 10, 32)
			if after != "" && err != nil {
				return nil, errBadToken()
			}
			return s.m.Store.ListUploadParts(ctx, req.GetUpload(), int32(n), limit)
		})
	if err != nil {
		return nil, err
	}
	out := &registryv1.ListUploadPartsResponse{NextPageToken: next}
	for _, p := range list {
		out.Parts = append(out.Parts, &registryv1.UploadPart{Number: p.Number, Offset: p.Offset, SizeBytes: p.Size, Sha256: p.SHA256})
	}
	return out, nil
}

// CompleteUpload implements registryv1.ArtifactServiceServer.
func (s *Server) CompleteUpload(ctx context.Context, req *registryv1.CompleteUploadRequest) (*registryv1.CompleteUploadResponse, error) {
	a, err := s.m.Complete(ctx, req.GetUpload(), req.GetSha256())
	if err != nil {
		return nil, err
	}
	return &registryv1.CompleteUploadResponse{Artifact: artifactOf(a)}, nil
}

// DeleteUpload implements registryv1.ArtifactServiceServer.
func (s *Server) DeleteUpload(ctx context.Context, req *registryv1.DeleteUploadRequest) (*registryv1.DeleteUploadResponse, error) {
	if err := s.m.GiveUp(ctx, req.GetUpload()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteUploadResponse{}, nil
}

// GetArtifact implements registryv1.ArtifactServiceServer.
func (s *Server) GetArtifact(ctx context.Context, req *registryv1.GetArtifactRequest) (*registryv1.GetArtifactResponse, error) {
	a, err := s.m.Store.GetArtifact(ctx, req.GetSha256())
	if err != nil {
		return nil, err
	}
	const told = 100
	n, list, err := s.m.Store.References(ctx, req.GetSha256(), told)
	if err != nil {
		return nil, err
	}
	out := artifactOf(a)
	out.ReferenceCount = n
	for _, r := range list {
		out.References = append(out.References, &registryv1.ArtifactReference{Model: r.Model, Version: r.Version, Variant: r.Variant})
	}
	return &registryv1.GetArtifactResponse{Artifact: out}, nil
}

// ListArtifacts implements registryv1.ArtifactServiceServer.
func (s *Server) ListArtifacts(ctx context.Context, req *registryv1.ListArtifactsRequest) (*registryv1.ListArtifactsResponse, error) {
	list, next, err := page(req, "artifacts", func(a *store.Artifact) string { return a.SHA256 },
		func(after string, limit int) ([]*store.Artifact, error) {
			return s.m.Store.ListArtifacts(ctx, after, limit)
		})
	if err != nil {
		return nil, err
	}
	out := &registryv1.ListArtifactsResponse{NextPageToken: next}
	for _, a := range list {
		out.Artifacts = append(out.Artifacts, artifactOf(a))
	}
	return out, nil
}

// DeleteArtifact implements registryv1.ArtifactServiceServer.
func (s *Server) DeleteArtifact(ctx context.Context, req *registryv1.DeleteArtifactRequest) (*registryv1.DeleteArtifactResponse, error) {
	if err := s.m.Delete(ctx, req.GetSha256()); err != nil {
		return nil, err
	}
	return &registryv1.DeleteArtifactResponse{}, nil
}

// CollectArtifacts implements registryv1.ArtifactServiceServer.
func (s *Server) CollectArtifacts(ctx context.Context, req *registryv1.CollectArtifactsRequest) (*registryv1.CollectArtifactsResponse, error) {
	c, err := s.m.Collect(ctx, req.GetDryRun())
	if err != nil {
		return nil, err
	}
	out := &registryv1.CollectArtifactsResponse{ArtifactCount: c.Count, SizeBytes: c.Bytes, WaitingCount: c.Waiting}
	if n := int(req.GetListSize()); n > 0 && n < len(c.Artifacts) {
		c.Artifacts = c.Artifacts[:n]
	}
	for _, a := range c.Artifacts {
		out.Artifacts = append(out.Artifacts, artifactOf(a))
	}
	return out, nil
}

// ReadArtifact implements registryv1.ArtifactServiceServer.
func (s *Server) ReadArtifact(req *registryv1.ReadArtifactRequest, stream grpc.ServerStreamingServer[registryv1.ReadArtifactResponse]) error {
	ctx := stream.Context()
	a, err := s.m.Store.GetArtifact(ctx, req.GetSha256())
	if err != nil {
		return err
	}
	if req.GetOffset() > a.Size {
		return apierr.New(apierr.OutOfRange, "the artifact has %d bytes", a.Size).WithField("offset")
	}
	body, err := s.m.Content.Read(ctx, a.Place, req.GetOffset())
	if err != nil {
		return err
	}
	defer body.Close()
	left := a.Size - req.GetOffset()
	resp := &registryv1.ReadArtifactResponse{SizeBytes: a.Size}
	for {
		if err := stream.Send(resp); err != nil || left == 0 {
			return err
		}
		// A message within the process may be kept until it is received.
		room := make([]byte, min(readBytes, left))
		if _, err := io.ReadFull(body, room); err != nil {
			return apierr.Wrap(apierr.Unavailable, fmt.Errorf("read artifact: %w", err), "the artifact cannot be read to its end; try again")
		}
		left -= int64(len(room))
		resp = &registryv1.ReadArtifactResponse{Data: room}
	}
}

func (s *Server) upload(u *store.Upload) *registryv1.Upload {
	return &registryv1.Upload{
		Id: u.ID, Name: u.Name, SizeBytes: u.Size, Sha256: u.SHA256, Offset: u.Received, PartBytes: u.PartBytes,
		MinAppendBytes: min(s.m.Content.MinPart(), u.Size), Complete: u.Complete, Creator: u.Creator,
		CreateTime: timestamppb.New(u.Created), UpdateTime: timestamppb.New(u.Updated), ExpireTime: timestamppb.New(u.Expires),
	}
}

func artifactOf(a *store.Artifact) *registryv1.Artifact {
	out := &registryv1.Artifact{
		Sha256: a.SHA256, SizeBytes: a.Size, Name: a.Name, Uri: store.ArtifactPrefix + a.SHA256, Creator: a.Creator,
		CreateTime: timestamppb.New(a.Created), ReferenceCount: a.Referring,
	}
	if !a.Unreferenced.IsZero() {
		out.UnreferencedSince = timestamppb.New(a.Unreferenced)
	}
	return out
}

// page gives one list page by page (AIP-158).
func page[T any](req interface {
	GetPageSize() int32
	GetPageToken() string
}, scope string, key func(T) string, list func(after string, limit int) ([]T, error),
) (entries []T, next string, err error) {
	after := ""
	if token := req.GetPageToken(); token != "" {
		if after, err = pagetoken.Decode(scope, token); err != nil {
			return nil, "", errBadToken()
		}
	}
	size := int(req.GetPageSize())
	if size == 0 {
		size = 100
	}
	entries, err = list(after, size+1) // one more tells whether there is a next page
	if err != nil || len(entries) <= size {
		return entries, "", err
	}
	entries = entries[:size]
	return entries, pagetoken.Encode(scope, key(entries[size-1])), nil
}

func errBadToken() error {
	return apierr.Invalid("page_token", "page_token is not one that this list gave")
}
