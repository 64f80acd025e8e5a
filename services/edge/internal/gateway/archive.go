package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/poterne/poterne/pkg/apierr"
	registryv1 "github.com/poterne/poterne/proto/gen/poterne/registry/v1"
)

// The paths of the registry's archive, whose bodies are lines.
const (
	ArchiveExportPath = "/v1/registry/archive:export"
	ArchiveImportPath = "/v1/registry/archive:import"
)

// exportArchive answers GET /v1/registry/archive:export, as backup does.
func (h *handler) exportArchive(w *writer, r *http.Request) {
	if err := noQuery(r); err != nil {
		writeError(w, r, err)
		return
	}
	download(h, w, r, contentTypeLines, func(ctx context.Context) (pieces[*registryv1.ExportArchiveResponse], error) {
		return h.registry.ExportArchive(ctx, &registryv1.ExportArchiveRequest{})
	})
}

// importArchive answers POST /v1/registry/archive:import. The body is sent on as it
// comes, however long it is.
func (h *handler) importArchive(w *writer, r *http.Request) {
	start, err := archiveStart(r)
	if err != nil {
		writeError(w, r, err)
		return
	}
	upload(h, w, r, func(ctx context.Context) (grpc.ClientStreamingClient[registryv1.ImportArchiveRequest, registryv1.ImportArchiveResponse], error) {
		return h.registry.ImportArchive(ctx)
	}, func(call grpc.ClientStreamingClient[registryv1.ImportArchiveRequest, registryv1.ImportArchiveResponse], b *body) error {
		return sendArchive(call, b, start)
	}, func(resp *registryv1.ImportArchiveResponse) proto.Message { return resp })
}

// archiveStart is the first message of an import, from the query.
func archiveStart(r *http.Request) (*registryv1.ImportArchiveRequest, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, apierr.Invalid("query", "query: cannot be read")
	}
	out := new(registryv1.ImportArchiveRequest)
	for name, list := range values {
		if len(list) != 1 {
			return nil, apierr.Invalid("query", "query: a parameter comes more than once")
		}
		switch name {
		case "conflict":
			number, ok := registryv1.ImportConflict_value["IMPORT_CONFLICT_"+strings.ToUpper(list[0])]
			if !ok || number == 0 {
				return nil, apierr.Invalid(name, "conflict: must be fail, skip or replace")
			}
			out.Conflict = registryv1.ImportConflict(number)
		case "dry_run":
			if out.DryRun, err = strconv.ParseBool(list[0]); err != nil {
				return nil, apierr.Invalid(name, "dry_run: must be true or false")
			}
		default:
			return nil, apierr.Invalid("query", "query: has a parameter that this call does not have")
		}
	}
	return out, nil
}

// sendArchive sends the body on. The error is of the body: what is wrong with the
// call is received.
func sendArchive(call grpc.ClientStreamingClient[registryv1.ImportArchiveRequest, registryv1.ImportArchiveResponse], in io.Reader, req *registryv1.ImportArchiveRequest) error {
	for {
		// A message within the process may be kept until it is received.
		room := make([]byte, restorePiece)
		n, err := io.ReadFull(in, room)
		req.Data = room[:n]
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return bodyError(err)
		}
		if call.Send(req) != nil || ended {
			return nil //nolint:nilerr // why is received
		}
		req = new(registryv1.ImportArchiveRequest)
	}
}
