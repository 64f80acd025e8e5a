package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	searchv1 "github.com/poterne/poterne/proto/gen/poterne/search/v1"
)

// The paths of backups, whose bodies are bytes.
const (
	BackupPath  = "/v1/collections/{collection}:backup"
	RestorePath = "/v1/collections:restore"
)

const (
	contentTypeBytes = "application/octet-stream"
	// restorePiece is how much of a backup is sent on at once.
	restorePiece = 256 << 10
)

// checkBytes refuses a body that is said to be something else than bytes.
func checkBytes(mediaType string, err error) error {
	if err != nil || mediaType != contentTypeBytes {
		return apierr.New(apierr.UnsupportedMediaType, "the body must be a backup: send Content-Type: %s", contentTypeBytes)
	}
	return nil
}

// backup answers GET /v1/collections/{collection}:backup. Until the first bytes a
// failure is an ordinary answer; later it cuts the connection, so that nobody
// takes what has come for a whole answer.
func (h *handler) backup(w *writer, r *http.Request) {
	if err := noQuery(r); err != nil {
		writeError(w, r, err)
		return
	}
	path := strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), "/v1/collections/"), ":backup")
	id, err := url.PathUnescape(path)
	if err != nil {
		writeError(w, r, apierr.New(apierr.InvalidArgument, "the path cannot be read"))
		return
	}
	download(h, w, r, contentTypeBytes, func(ctx context.Context) (pieces[*searchv1.BackupCollectionResponse], error) {
		return h.search.BackupCollection(ctx, &searchv1.BackupCollectionRequest{Collection: id})
	})
}

// restore answers POST /v1/collections:restore. The body is sent on as it comes,
// however long it is.
func (h *handler) restore(w *writer, r *http.Request) {
	id, err := restoredID(r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	upload(h, w, r, func(ctx context.Context) (grpc.ClientStreamingClient[searchv1.RestoreCollectionRequest, searchv1.RestoreCollectionResponse], error) {
		return h.search.RestoreCollection(ctx)
	}, func(call grpc.ClientStreamingClient[searchv1.RestoreCollectionRequest, searchv1.RestoreCollectionResponse], b *body) error {
		return sendBackup(call, b, id)
	}, func(resp *searchv1.RestoreCollectionResponse) proto.Message { return resp.GetCollection() })
}

func restoredID(r *http.Request) (string, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", apierr.Invalid("query", "query: cannot be read")
	}
	for name, list := range values {
		if name != "collection" || len(list) != 1 {
			return "", apierr.Invalid("query", "query: must be collection, once")
		}
	}
	if values.Get("collection") == "" {
		return "", apierr.Invalid("collection", "collection: is missing")
	}
	return values.Get("collection"), nil
}

// sendBackup sends the body on. The error is of the body: what is wrong with the
// call is received.
func sendBackup(call grpc.ClientStreamingClient[searchv1.RestoreCollectionRequest, searchv1.RestoreCollectionResponse], in io.Reader, id string) error {
	req := &searchv1.RestoreCollectionRequest{Collection: id}
	for room := make([]byte, restorePiece); ; {
		if call.Send(req) != nil {
			return nil //nolint:nilerr // why is received
		}
		n, err := io.ReadFull(in, room)
		req = &searchv1.RestoreCollectionRequest{Data: room[:n]}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			if n > 0 {
				_ = call.Send(req) // why not is received
			}
			return nil
		}
		if err != nil {
			return bodyError(err)
		}
		// A message within the process may be kept until it is received.
		room = make([]byte, restorePiece)
	}
}
