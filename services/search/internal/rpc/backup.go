package rpc

import (
	"bufio"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
	"github.com/poterne/poterne/services/search/internal/backup"
)

// pieceBytes is how many bytes of a backup are sent at a time.
const pieceBytes = 256 << 10

// BackupCollection implements SearchService. It gives documents whoever may read
// them, and so is for administrators alone.
func (s *Server) BackupCollection(req *searchv1.BackupCollectionRequest, stream grpc.ServerStreamingServer[searchv1.BackupCollectionResponse]) error {
	ctx := stream.Context()
	if err := administers(ctx); err != nil {
		return err
	}
	_, c, err := s.collection(ctx, req.GetCollection())
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(pieces{stream}, pieceBytes)
	if err := backup.Write(ctx, s.o.Store, c, out); err != nil {
		return err
	}
	return out.Flush()
}

func administers(ctx context.Context) error {
	who, err := callerOf(ctx)
	if err == nil && !who.admin {
		err = apierr.New(apierr.PermissionDenied, "a whole collection is for administrators: whoever may read its documents, all are in its backup")
	}
	return err
}

// pieces sends what is written. A message is encoded before Send returns.
type pieces struct {
	stream grpc.ServerStreamingServer[searchv1.BackupCollectionResponse]
}

func (p pieces) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), pieceBytes)]
		if err = p.stream.Send(&searchv1.BackupCollectionResponse{Data: part}); err == nil {
			n, b = n+len(part), b[len(part):]
		}
	}
	return n, err
}

// RestoreCollection implements SearchService. What arrives is kept in a file
// until all of it is there and checked.
func (s *Server) RestoreCollection(stream grpc.ClientStreamingServer[searchv1.RestoreCollectionRequest, searchv1.RestoreCollectionResponse]) (err error) {
	ctx := stream.Context()
	if err := administers(ctx); err != nil {
		return err
	}
	req, err := stream.Recv()
	if errors.Is(err, io.EOF) || err == nil && req.GetCollection() == "" {
		return apierr.Invalid("collection", "collection: is missing")
	}
	if err != nil {
		return err
	}
	who, _, err := s.collection(ctx, req.GetCollection())
	switch {
	case err == nil:
		return apierr.New(apierr.AlreadyExists, "there is a collection %q already", req.GetCollection()).WithField("collection")
	case apierr.ReasonOf(err) != apierr.NotFound:
		return err
	}
	spool, err := backup.NewSpool(s.o.SpoolDir, s.o.MaxRestoreBytes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	id := req.GetCollection()
	for {
		if _, err := spool.Write(req.GetData()); err != nil {
			return err
		}
		req, err = stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if req.GetCollection() != "" {
			return apierr.Invalid("collection", "collection: is of the first message only")
		}
	}
	b, err := spool.Open()
	if err != nil {
		return err
	}
	c, err := s.o.Store.Restore(ctx, b.Collection(who.tenant, id, s.o.IDs.New()), b.Versions(who.tenant), s.o.MaxCollections, s.o.MaxCollectionChunks)
	if err != nil {
		return err
	}
	s.o.Follower.Notify()
	return stream.SendAndClose(&searchv1.RestoreCollectionResponse{Collection: collectionToProto(c)})
}
